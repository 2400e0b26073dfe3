"""Inference: pictures in, labels with probabilities out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from checkpoint import load
from data import FloatArray, read_batches
from job_files.contract import (
    IMAGE_FORMAT_ERROR,
    Env,
    ImageError,
    Monitor,
    read_class_names,
    read_index,
    read_parameters,
    require_positive,
    write_labels,
)
from job_files.device import as_input, choose_device, precision
from job_files.pictures import ByteArray, log
from job_files.weights import reported_classes
from metrics import softmax
from model import Classifier
from parameters import InferParameters


def infer(env: Env, config: dict[str, Any], monitor: Monitor) -> None:
    """Writes infer-result.json for the candidates of the job."""
    parameters = read_parameters(config, InferParameters)
    require_positive(parameters, "batch_size")
    model, facts = load(list(config.get("model_params_path") or []), choose_device(config))
    wanted = reported_classes(facts.class_names, read_class_names(config))
    paths = [Path(row[0]) for row in read_index(env.input("candidate_index_file"))]
    found: dict[str, list[dict[str, Any]]] = {}
    for batch, pictures, done in read_batches(paths, parameters.image_size or facts.image_size, parameters.batch_size):
        probabilities = softmax(logits_of(model, pictures)[0], facts.temperature)
        for path, row in zip(batch, probabilities, strict=True):
            found[path.name] = describe(row, facts.class_names, wanted, parameters.top)
        monitor.progress(done)
    if not found:
        raise ImageError(IMAGE_FORMAT_ERROR, f"none of the {len(paths)} candidates can be read, the first is {paths[0]}")
    write_labels(env.output("infer_result_file"), found)
    monitor.progress(1.0)
    log(f"inference: labels of {len(found)} of {len(paths)} pictures")


@torch.inference_mode()
def logits_of(model: Classifier, pictures: ByteArray) -> tuple[FloatArray, FloatArray]:
    """Of pictures (n, S, S, 3): logits (n, C), and the vectors (n, d) that the last layer decides by."""
    device = next(model.parameters()).device
    with precision(device):
        features = model.features(as_input(pictures, device))
        logits = model.head(features)
    return logits.float().cpu().numpy(), features.float().cpu().numpy()


def describe(probabilities: FloatArray, class_names: list[str], wanted: set[int], top: int) -> list[dict[str, Any]]:
    """The surest ``top`` (0: all) of the wanted labels of one picture; probabilities are over all classes of the model."""
    order = [int(label) for label in np.argsort(-probabilities, kind="stable") if int(label) in wanted]
    return [{"class_name": class_names[label], "score": round(float(probabilities[label]), 6)} for label in order[: top or None]]
