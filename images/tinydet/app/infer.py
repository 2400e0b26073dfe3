"""Inference: pictures in, boxes with class and score out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checkpoint import load
from data import pad_together, read_picture
from job_files.contract import Env, ImageError, Monitor, read_class_names, read_index, read_parameters, require_positive, write_detections
from job_files.device import as_input, choose_device, precision
from job_files.evaluate import Boxes, FloatArray, IntArray, iou_matrix
from job_files.pictures import ByteArray, chunks, log
from job_files.weights import reported_classes
from model import Detector, decode
from parameters import InferParameters


def infer(env: Env, config: dict[str, Any], monitor: Monitor) -> None:
    """Writes infer-result.json for the candidates of the job."""
    parameters = read_parameters(config, InferParameters)
    require_positive(parameters, "batch_size", "max_boxes")
    model, facts = load(list(config.get("model_params_path") or []), choose_device(config))
    wanted = reported_classes(facts.class_names, read_class_names(config))
    paths = [Path(row[0]) for row in read_index(env.input("candidate_index_file"))]
    found: dict[str, list[dict[str, Any]]] = {}
    detections = detect(model, paths, parameters.image_size or facts.image_size, parameters, monitor.progress)
    for path, boxes, size in detections:
        found[path.name] = describe(boxes, size, facts.class_names, wanted)
    write_detections(env.output("infer_result_file"), found)
    log(f"inference: {sum(map(len, found.values()))} boxes in {len(found)} of {len(paths)} pictures")


def detect(
    model: Detector, paths: Sequence[Path], image_size: int, parameters: InferParameters, progress: Callable[[float], None]
) -> Iterator[tuple[Path, Boxes, tuple[float, float]]]:
    """Each readable picture with its boxes, both in the file's own pixels (size is width, height); others are logged."""
    for rows in chunks(len(paths), parameters.batch_size):
        batch = read_batch([paths[row] for row in rows], image_size)
        if batch:
            for (path, picture, factor), boxes in zip(batch, detect_batch(model, [b[1] for b in batch], parameters), strict=True):
                size = (picture.shape[1] / factor, picture.shape[0] / factor)
                yield path, Boxes(boxes.xyxy / factor, boxes.labels, boxes.scores), size
        progress(rows.stop / len(paths))


def read_batch(paths: Sequence[Path], image_size: int) -> list[tuple[Path, ByteArray, float]]:
    """Path, picture and scale factor of those that can be read; the others are logged."""
    batch = []
    for path in paths:
        try:
            batch.append((path, *read_picture(path, image_size)))
        except ImageError as error:
            log(f"left out: {error}")
    return batch


@torch.inference_mode()
def detect_batch(model: Detector, pictures: Sequence[ByteArray], parameters: InferParameters) -> list[Boxes]:
    """Boxes of each picture, in the pixels of the arrays given, best first."""
    device = next(model.parameters()).device
    with precision(device):
        logits, distances = model(as_input(pad_together(pictures), device))
    peaks = decode(logits, distances, 3 * parameters.max_boxes)
    boxes, scores, labels = (part.cpu().numpy() for part in (peaks.boxes, peaks.scores, peaks.labels))
    results = []
    for picture, xyxy, score, label in zip(pictures, boxes, scores, labels, strict=True):
        clipped, kept = choose(picture, xyxy, score, label, parameters)
        results.append(Boxes(clipped[kept].astype(float), label[kept], score[kept].astype(float)))
    return results


def choose(
    picture: ByteArray, xyxy: FloatArray, score: FloatArray, label: IntArray, parameters: InferParameters
) -> tuple[FloatArray, IntArray]:
    """The boxes cut to the picture, and the rows of those that are reported, best first."""
    height, width = picture.shape[:2]
    clipped = np.clip(xyxy, 0, [width, height, width, height])
    kept = np.flatnonzero((score >= parameters.conf_thres) & ((clipped[:, 2:] - clipped[:, :2]).min(1) >= 1))
    return clipped, kept[suppress(clipped[kept], label[kept], parameters.nms_thres)][: parameters.max_boxes]


def suppress(boxes: FloatArray, labels: IntArray, iou_thr: float) -> IntArray:
    """Indices of the boxes (best first) that overlap no better one of their class by more than ``iou_thr``."""
    clash = (iou_matrix(boxes, boxes) > iou_thr) & (labels[:, None] == labels[None, :])
    kept: list[int] = []
    free = np.ones(len(boxes), bool)
    for index in range(len(boxes)):
        if free[index]:
            kept.append(index)
            free &= ~clash[index]
    return np.array(kept, dtype=int)


def describe(boxes: Boxes, size: tuple[float, float], class_names: list[str], wanted: set[int]) -> list[dict[str, Any]]:
    """The boxes of one picture in the form of infer-result.json: whole pixels inside the picture, origin at the top left."""
    low = np.floor(boxes.xyxy[:, :2] + 0.5).astype(int)
    high = np.maximum(np.minimum(np.floor(boxes.xyxy[:, 2:] + 0.5), np.round(size)).astype(int), low + 1)
    return [
        {
            "box": {"x": int(x), "y": int(y), "w": int(right - x), "h": int(bottom - y)},
            "class_name": class_names[label],
            "score": round(float(score), 6),
        }
        for (x, y), (right, bottom), label, score in zip(low, high, boxes.labels, boxes.scores, strict=True)
        if int(label) in wanted
    ]
