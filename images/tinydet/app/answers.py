"""All that the network says of a picture in one pass, as the mining core takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from data import FloatArray, pad_together
from infer import choose
from job_files.device import as_input, precision
from job_files.pictures import ByteArray
from mining import Boxes
from model import Detector, at_cells, decode
from parameters import InferParameters


@dataclass(frozen=True)
class PictureAnswer:
    """All that the network says of a picture: ``boxes`` in pixels of the array given, with class distributions and features; a vector (d,)."""

    boxes: Boxes
    embedding: FloatArray


@torch.inference_mode()
def answer_batch(model: Detector, pictures: Sequence[ByteArray], parameters: InferParameters) -> list[PictureAnswer]:
    """Boxes as ``infer.detect_batch`` finds them, with what the mining core can use beside them."""
    device = next(model.parameters()).device
    with precision(device):
        logits, distances, grid, embeddings = model.describe(as_input(pad_together(pictures), device))
    peaks = decode(logits, distances, 3 * parameters.max_boxes)
    classes, features = at_cells(logits, peaks.cells).float().sigmoid(), at_cells(grid, peaks.cells).float()
    parts = (peaks.boxes, peaks.scores, peaks.labels, classes, features, embeddings.float())
    answers = []
    for picture, xyxy, score, label, shares, feature, embedding in zip(pictures, *(part.cpu().numpy() for part in parts), strict=True):
        clipped, kept = choose(picture, xyxy, score, label, parameters)
        own = np.maximum(shares[kept].astype(float), 1e-9)
        found = Boxes(
            clipped[kept].astype(float),
            score[kept].astype(float),
            label[kept],
            own / own.sum(1, keepdims=True),
            feature[kept].astype(float),
        )
        answers.append(PictureAnswer(found, embedding))
    return answers
