"""A detector small enough to train a hundred times: centre heatmaps and box sides on a grid of a quarter of the picture (CenterNet, arXiv 1904.07850).

A warm start keeps the curves readable: a base learns the first labels, every round goes on from the base, not from the round before.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from mining.boxes import Boxes, iou
from torch import Tensor, nn
from torch.nn import functional

from analysis.evaluation.coco import coco
from analysis.evaluation.objects import make_predictions, make_truths
from benchmarks.mining.data import Scenes, Truth

STRIDE = 4
BATCH = 8
BASE_STEPS, ROUND_STEPS = 300, 100
LEARNING_RATE, ROUND_RATE = 4e-3, 4e-3
LEAST_SCORE = 0.05
MOST_BOXES = 60


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Detector(nn.Module):
    """(n, channels, H, W), H and W multiples of 8, to class logits (n, C, H/4, W/4), sides (n, 4, H/4, W/4) and the features of both."""

    def __init__(self, channels: int, class_count: int, width: int = 32) -> None:
        super().__init__()
        self.fine = nn.Sequential(_conv(channels, width // 2, 2), _conv(width // 2, width, 2), _conv(width, width))
        self.coarse = nn.Sequential(_conv(width, 2 * width, 2), _conv(2 * width, 2 * width))
        self.lateral = nn.Conv2d(2 * width, width, 1)
        self.neck = _conv(width, width)
        self.heat, self.sides = nn.Conv2d(width, class_count, 1), nn.Conv2d(width, 4, 1)
        nn.init.constant_(self.heat.bias, -3.0)  # type: ignore[arg-type]

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        fine = self.fine(pictures)
        coarse = self.coarse(fine)
        raised = functional.interpolate(self.lateral(coarse), size=fine.shape[2:], mode="nearest")
        neck = self.neck(torch.relu(fine + raised))
        return self.heat(neck), functional.softplus(self.sides(neck)) * 2 * STRIDE, neck, coarse


@dataclass(frozen=True)
class Found:
    """What a detector says of pictures: boxes of each, and (n, d) unit vectors of the whole pictures."""

    boxes: list[Boxes]
    embeddings: npt.NDArray[np.float32]


# ---------------------------------------------------------------------------------------------------------------- training


def train_base(scenes: Scenes, seed: int, steps: int = BASE_STEPS) -> Detector:
    """A fresh detector that has learnt the first labels; the same for the same pictures and seed."""
    torch.manual_seed(seed)
    return _fit(Detector(scenes.pictures.shape[1], len(scenes.class_names)), scenes, seed, steps, LEARNING_RATE)


def tune(base: Detector, scenes: Scenes, seed: int, steps: int = ROUND_STEPS) -> Detector:
    """The base after ``steps`` more on all labels bought so far; the base stays as it is."""
    return _fit(copy.deepcopy(base), scenes, seed + 1000, steps, ROUND_RATE)


def _fit(model: Detector, scenes: Scenes, seed: int, steps: int, rate: float) -> Detector:
    dice = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-3)
    heat, sides, weight = _targets(scenes)
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * _share_of_rate(step / steps)
        rows = dice.choice(len(scenes), BATCH, replace=len(scenes) < BATCH)
        pictures, *goals = _flipped(torch.from_numpy(scenes.pictures[rows]).float(), heat[rows], sides[rows], weight[rows], dice, scenes)
        loss = _loss(model(_as_input(_brightened(pictures, dice))), *goals)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
    return model.eval()


def _share_of_rate(fraction: float) -> float:
    return min(1.0, fraction / 0.05 + 0.05) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fraction)))


def _as_input(pictures: Tensor) -> Tensor:
    return (pictures / 255 - 0.5) * 4


def _brightened(pictures: Tensor, dice: np.random.Generator) -> Tensor:
    shift, contrast = (torch.from_numpy(dice.uniform(-1, 1, (len(pictures), 1, 1, 1))).float() for _ in range(2))
    return pictures * (1 + 0.15 * contrast) + 20 * shift


def _flipped(
    pictures: Tensor, heat: Tensor, sides: Tensor, weight: Tensor, dice: np.random.Generator, scenes: Scenes
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Half of the batches mirrored, where a mirrored object is still of its class: blood cells are, digits are not."""
    if scenes.pictures.shape[1] == 1 or dice.random() < 0.5:
        return pictures, heat, sides, weight
    return pictures.flip(3), heat.flip(3), sides.flip(3)[:, [2, 1, 0, 3]], weight.flip(2)


def _loss(answer: tuple[Tensor, Tensor, Tensor, Tensor], heat: Tensor, sides: Tensor, weight: Tensor) -> Tensor:
    """Focal loss on the heatmaps (CenterNet's) plus a tenth of the L1 distance of the sides at the cells of objects, per object."""
    logits, found = answer[0], answer[1]
    p = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    hit = heat == 1
    focal = torch.where(hit, (1 - p) ** 2 * torch.log(p), (1 - heat) ** 4 * p**2 * torch.log(1 - p))
    objects = hit.sum().clamp(min=1)
    away = ((found - sides).abs().sum(1) * weight).sum() / weight.sum().clamp(min=1)
    return -focal.sum() / objects + 0.1 * away


def _targets(scenes: Scenes) -> tuple[Tensor, Tensor, Tensor]:
    height, width = (side // STRIDE for side in scenes.pictures.shape[2:])
    heat = np.zeros((len(scenes), len(scenes.class_names), height, width), np.float32)
    sides = np.zeros((len(scenes), 4, height, width), np.float32)
    weight = np.zeros((len(scenes), height, width), np.float32)
    for row, truth in enumerate(scenes.truths):
        for box, label in zip(truth.corners, truth.classes, strict=True):
            _draw(box, heat[row, label], sides[row], weight[row])
    return torch.from_numpy(heat), torch.from_numpy(sides), torch.from_numpy(weight)


def _draw(
    box: npt.NDArray[np.float64], heat: npt.NDArray[np.float32], sides: npt.NDArray[np.float32], weight: npt.NDArray[np.float32]
) -> None:
    """A bell over the middle of a box, 1 at its centre cell; the box's sides at the cells around the centre."""
    height, width = heat.shape
    cx, cy = (min(max(int((box[side] + box[side + 2]) / 2 / STRIDE), 0), limit - 1) for side, limit in ((0, width), (1, height)))
    sigma = np.maximum((box[2:] - box[:2]) / STRIDE / 8, 0.4)
    x, y = np.arange(width), np.arange(height)
    bell = np.exp(-((x[None, :] - cx) ** 2) / (2 * sigma[0] ** 2) - (y[:, None] - cy) ** 2 / (2 * sigma[1] ** 2))
    np.maximum(heat, np.where(bell > 0.02, bell, 0), out=heat)
    for row in range(max(cy - 1, 0), min(cy + 2, height)):
        for column in range(max(cx - 1, 0), min(cx + 2, width)):
            px, py = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
            sides[:, row, column] = np.maximum([px - box[0], py - box[1], box[2] - px, box[3] - py], 0)
            weight[row, column] = 1.0 if (row, column) == (cy, cx) else 0.3


# --------------------------------------------------------------------------------------------------------------- answering


@torch.inference_mode()
def detect(model: Detector, pictures: npt.NDArray[np.uint8], batch: int = 50) -> Found:
    """Boxes and vectors of pictures (n, channels, H, W)."""
    boxes: list[Boxes] = []
    vectors = []
    for begin in range(0, len(pictures), batch):
        logits, sides, neck, coarse = model(_as_input(torch.from_numpy(pictures[begin : begin + batch]).float()))
        boxes += _decode(logits.sigmoid(), sides, neck)
        vectors.append(torch.cat([functional.normalize(coarse.mean((2, 3))), functional.normalize(coarse.amax((2, 3)))], 1))
    return Found(boxes, functional.normalize(torch.cat(vectors)).numpy())


def mirrored(model: Detector, pictures: npt.NDArray[np.uint8]) -> list[Boxes]:
    """Boxes of the mirrored pictures, mapped back."""
    width = pictures.shape[3]
    found = detect(model, np.ascontiguousarray(pictures[..., ::-1])).boxes
    return [
        Boxes(
            one.corners[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [width, 0, width, 0], one.scores, one.classes, one.probabilities, one.features
        )
        for one in found
    ]


def smoothed(model: Detector, pictures: npt.NDArray[np.uint8]) -> list[Boxes]:
    """Boxes of the pictures after a blur of three by three."""
    soft = functional.avg_pool2d(functional.pad(torch.from_numpy(pictures).float(), (1, 1, 1, 1), mode="replicate"), 3, 1)
    return detect(model, soft.round().to(torch.uint8).numpy()).boxes


@torch.inference_mode()
def class_map(model: Detector, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """(C, H/4, W/4) probabilities of one picture."""
    maps: npt.NDArray[np.float64] = model(_as_input(torch.from_numpy(picture[None]).float()))[0].sigmoid()[0].double().numpy()
    return maps


def _decode(heat: Tensor, sides: Tensor, neck: Tensor) -> list[Boxes]:
    """The local peaks of each picture, without those that overlap a better one of their class."""
    peaks = heat * (functional.max_pool2d(heat, 3, 1, 1) == heat)
    count, classes, height, width = heat.shape
    scores, places = peaks.flatten(1).topk(min(MOST_BOXES, classes * height * width))
    found = []
    for row in range(count):
        kept = scores[row] >= LEAST_SCORE
        place = places[row][kept]
        cell, label = place % (height * width), place // (height * width)
        x, y = (cell % width + 0.5) * STRIDE, (cell // width + 0.5) * STRIDE
        distance = sides[row].flatten(1)[:, cell]
        corners = torch.stack([x - distance[0], y - distance[1], x + distance[2], y + distance[3]], 1)
        corners = corners.clamp(min=0).minimum(torch.tensor([width, height, width, height]) * float(STRIDE))
        p = heat[row].flatten(1)[:, cell].T.double()
        parts = (corners.double(), scores[row][kept].double(), label, p / p.sum(1, keepdim=True), neck[row].flatten(1)[:, cell].T.double())
        found.append(_suppressed(Boxes(*(part.numpy() for part in parts))))
    return found


def _suppressed(boxes: Boxes, least_iou: float = 0.5) -> Boxes:
    clash = (iou(boxes.corners, boxes.corners) > least_iou) & (boxes.classes[:, None] == boxes.classes[None, :])
    kept: list[int] = []
    for row in range(len(boxes)):
        if not clash[row, kept].any():
            kept.append(row)
    return boxes.keep(np.asarray(kept, np.int64))


# ----------------------------------------------------------------------------------------------------------------- judging


def average_precisions(found: Sequence[Boxes], truths: Sequence[Truth], class_count: int) -> npt.NDArray[np.float64]:
    """(C,) COCO's average precision at IoU 0.5 of each class."""
    truth = make_truths(*_columns([(one.corners, one.classes) for one in truths]))
    rows, labels, boxes = _columns([(one.corners, one.classes) for one in found])
    scores = np.concatenate([one.scores for one in found]) if len(rows) else np.zeros(0)
    by_class: npt.NDArray[np.float64] = coco(truth, make_predictions(rows, labels, boxes, scores), class_count).by_class()["AP50"]
    return by_class


def _columns(pictures: Sequence[tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]]) -> tuple[npt.NDArray[np.int64], ...]:
    """Picture, label and x, y, width, height of every box."""
    rows = np.repeat(np.arange(len(pictures)), [len(labels) for _, labels in pictures])
    labels = np.concatenate([labels for _, labels in pictures]) if len(pictures) else np.zeros(0, np.int64)
    corners = np.concatenate([corners for corners, _ in pictures]) if len(pictures) else np.zeros((0, 4))
    return rows, labels, np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
