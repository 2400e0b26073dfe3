"""Inference: pictures in, boxes with class and score out, and outlines where the network has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checkpoint import ModelFacts, load
from device import choose_device
from job_files.contract import (
    INSTANCE_SEGMENTATION,
    Env,
    Monitor,
    read_class_names,
    read_index,
    read_parameters,
    require_positive,
    write_aside,
    write_detections,
)
from job_files.device import precision
from job_files.evaluate import FloatArray, IntArray
from job_files.pictures import log
from job_files.weights import reported_classes
from library import compose, quiet
from mmengine.dataset import pseudo_collate
from numpy.typing import NDArray
from parameters import InferParameters
from results import coco_document, describe
from torch import nn
from training_config import test_pipeline


@dataclass(frozen=True)
class Found:
    """What was found in a picture, best first: ``corners`` (n, 4) float x1 y1 x2 y2 in its own pixels, ``scores`` (n,), ``labels`` (n,).

    ``size`` is (width, height); ``masks`` (n, height, width) bool where the network makes them. Where they were asked for: ``embedding`` (d,) of the
    picture and ``features`` (n, d) of the boxes.
    """

    path: Path
    size: tuple[int, int]
    corners: FloatArray
    scores: FloatArray
    labels: IntArray
    masks: NDArray[np.bool_] | None = None
    embedding: FloatArray | None = None
    features: FloatArray | None = None


def infer(env: Env, config: dict[str, Any], monitor: Monitor) -> None:
    """Writes infer-result.json for the candidates of the job."""
    parameters = read_parameters(config, InferParameters)
    detector = open_detector(config, parameters)
    wanted = reported_classes(detector.facts.class_names, read_class_names(config))
    paths = [Path(row[0]) for row in read_index(env.input("candidate_index_file"))]
    found = detector.detect(paths, monitor.progress)
    if config["object_type"] == INSTANCE_SEGMENTATION:
        pictures, count = write_outlines(env, found, detector.facts.class_names, wanted)
    else:
        pictures, count = write_boxes(env, found, detector.facts.class_names, wanted)
    log(f"inference: {count} objects in {pictures} of {len(paths)} pictures")


def write_boxes(env: Env, found: Iterator[Found], class_names: list[str], wanted: set[int]) -> tuple[int, int]:
    """Pictures and boxes that were written."""
    boxes = {one.path.name: describe(one.corners, one.scores, one.labels, one.size, class_names, wanted) for one in found}
    write_detections(env.output("infer_result_file"), boxes)
    return len(boxes), sum(map(len, boxes.values()))


def write_outlines(env: Env, found: Iterator[Found], class_names: list[str], wanted: set[int]) -> tuple[int, int]:
    """Pictures and objects that were written, in COCO's form."""
    document = coco_document(found, class_names, wanted)
    write_aside(env.output("infer_result_file"), document.to_json())
    return document.image_count, document.object_count


def open_detector(config: dict[str, Any], parameters: InferParameters) -> Detector:
    """The detector of the job's model on the job's device, with its settings."""
    require_positive(parameters, "batch_size", "max_boxes")
    quiet()
    device = choose_device(config)
    network, facts = load([str(path) for path in config.get("model_params_path") or []])
    return Detector(network.to(device).eval(), facts, parameters, device)


class Detector:
    """A network with its settings.

    With ``embed`` set, each picture also gets a vector: what the network's neck sees, averaged over it; with ``embed_boxes`` each box, too: what
    the neck sees at its centre.
    """

    def __init__(self, network: nn.Module, facts: ModelFacts, parameters: InferParameters, device: torch.device) -> None:
        self.network, self.facts, self.parameters, self.device = network, facts, parameters, device
        self.embed = self.embed_boxes = False
        self._levels: list[torch.Tensor] = []
        set_suppression(network, parameters.nms_thres)
        self._prepare = compose(test_pipeline(parameters.image_size or facts.image_size))
        trunk = network.neck if getattr(network, "with_neck", False) else network.backbone
        trunk.register_forward_hook(self._keep_features)

    def detect(self, paths: Sequence[Path], progress: Callable[[float], None]) -> Iterator[Found]:
        """Each readable picture in the order given; the others are logged. Memory: one batch."""
        for start in range(0, len(paths), self.parameters.batch_size):
            part = paths[start : start + self.parameters.batch_size]
            if batch := [prepared for path in part if (prepared := self._read(path)) is not None]:
                yield from self.predict(batch)
            progress(min(start + len(part), len(paths)) / len(paths))

    def prepare(self, path: Path, pixels: NDArray[np.uint8] | None = None) -> dict[str, Any]:
        """What the network sees of a picture, or of ``pixels`` (h, w, 3) RGB in its place."""
        return dict(self._prepare({"img_path": str(path), "img_id": 0, **({} if pixels is None else {"pixels": pixels})}))

    @torch.inference_mode()
    def predict(self, batch: Sequence[dict[str, Any]]) -> list[Found]:
        """What is in the prepared pictures, in their own pixels."""
        with precision(self.device):
            samples = self.network.test_step(pseudo_collate(list(batch)))
        return [self._found(row, sample) for row, sample in enumerate(samples)]

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            return self.prepare(path)
        except Exception as error:  # whatever a broken picture makes a decoder say
            log(f"left out: {path} is not a readable picture: {error}")
            return None

    def _found(self, row: int, sample: Any) -> Found:
        instances, (height, width) = sample.pred_instances, sample.ori_shape
        scores = instances.scores.float().cpu().numpy().astype(float)
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] >= self.parameters.conf_thres][: self.parameters.max_boxes]
        corners = np.clip(instances.bboxes.float().cpu().numpy().astype(float)[order], 0, [width, height, width, height])
        order, corners = _with_area(order, corners)
        return Found(
            Path(sample.img_path),
            (width, height),
            corners,
            scores[order],
            instances.labels.cpu().numpy()[order].astype(int),
            instances.masks.cpu().numpy()[order] if "masks" in instances else None,
            self._embedding(row, sample) if self.embed else None,
            self._box_features(row, sample, corners) if self.embed_boxes else None,
        )

    def _keep_features(self, _module: nn.Module, _inputs: Any, outputs: Any) -> None:
        self._levels = [level for level in outputs if isinstance(level, torch.Tensor) and level.dim() == 4]

    def _embedding(self, row: int, sample: Any) -> FloatArray:
        """(d,) of length 1: the mean of each level over the picture without its padding, each level of equal weight."""
        seen = np.array(sample.ori_shape) * np.array(sample.scale_factor)[::-1] / np.array(sample.batch_input_shape)
        return _unit(np.concatenate([_unit(_mean_inside(level[row].float(), seen)) for level in self._levels]))

    def _box_features(self, row: int, sample: Any, corners: FloatArray) -> FloatArray:
        """(n, d) rows of length 1: each level at the centres of the boxes (n, 4)."""
        height, width = sample.batch_input_shape
        centres = (corners[:, :2] + corners[:, 2:]) / 2 * np.array(sample.scale_factor) / [width, height]
        grid = torch.from_numpy(2 * centres - 1).float().to(self.device).view(1, 1, -1, 2)
        read = [
            torch.nn.functional.grid_sample(level[row : row + 1].float(), grid, align_corners=False)[0, :, 0].T for level in self._levels
        ]
        return np.asarray(torch.nn.functional.normalize(torch.cat(read, dim=1), dim=1).cpu().numpy().astype(float))


def set_suppression(network: nn.Module, iou: float) -> None:
    """Sets the IoU of the suppression of weaker boxes, wherever the network has one; 0 leaves it as it is."""
    for module in network.modules():
        settings = getattr(module, "test_cfg", None)
        if iou > 0 and isinstance(settings, dict) and isinstance(settings.get("nms"), dict):
            settings["nms"]["iou_threshold"] = iou


def _with_area(order: IntArray, corners: FloatArray) -> tuple[IntArray, FloatArray]:
    kept = (corners[:, 2:] - corners[:, :2]).min(axis=1, initial=np.inf) >= 1
    return order[kept], corners[kept]


def _mean_inside(level: torch.Tensor, seen: FloatArray) -> FloatArray:
    """(C,) mean over the part of (C, h, w) that the picture covers: shares of height and width."""
    height, width = (max(1, round(float(share) * side)) for share, side in zip(seen, level.shape[1:], strict=True))
    return level[:, :height, :width].mean(dim=(1, 2)).cpu().numpy().astype(float)


def _unit(vector: FloatArray) -> FloatArray:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))
