"""Mining: which of the candidates are most worth labelling."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checkpoint import load
from contract import CONFIG_ERROR, Env, ImageError, Monitor, read_index, read_parameters, write_ranking
from data import chunks, log, pad_together
from device import as_input, choose_device, precision
from evaluate import FloatArray
from infer import InferParameters, detect, read_batch
from model import Detector

LEAST_SCORE = 0.05  # boxes below this are noise, not doubt
Scores = list[tuple[str, float]]


@dataclass(frozen=True)
class MiningParameters:
    """img-man/mining-template.yaml; the help texts are there."""

    mining_algorithm: str = "core_set"
    batch_size: int = 16
    image_size: int = 0
    nms_thres: float = 0.5
    max_boxes: int = 100
    seed: int = 0


def mine(env: Env, config: dict[str, Any], monitor: Monitor) -> None:
    """Writes result.tsv: every readable candidate with its score, highest first."""
    parameters = read_parameters(config, MiningParameters)
    algorithms: dict[str, Callable[[], Scores]] = {
        "random": lambda: random_scores(paths, parameters.seed, parameters.image_size or facts.image_size),
        "entropy": lambda: doubt_scores(model, paths, size, parameters, monitor, binary_entropy),
        "least_confidence": lambda: doubt_scores(model, paths, size, parameters, monitor, lambda p: 1 - p),
        "core_set": lambda: core_set_scores(model, paths, size, parameters, monitor),
    }
    if parameters.mining_algorithm not in algorithms:
        raise ImageError(CONFIG_ERROR, f"mining_algorithm {parameters.mining_algorithm!r}: choose one of {', '.join(algorithms)}")
    model, facts = load(list(config.get("model_params_path") or []), choose_device(config))
    size = parameters.image_size or facts.image_size
    paths = [Path(row[0]) for row in read_index(env.input("candidate_index_file"))]
    ranking = algorithms[parameters.mining_algorithm]()
    write_ranking(env.output("mining_result_file"), ranking)
    monitor.progress(1.0)
    log(f"mining: ranked {len(ranking)} of {len(paths)} pictures by {parameters.mining_algorithm}")


def random_scores(paths: list[Path], seed: int, image_size: int) -> Scores:
    """A number in [0, 1) per readable picture that depends on the seed and its name only: more candidates do not shuffle the rest."""
    readable = [path for rows in chunks(len(paths), 64) for path, *_ in read_batch([paths[row] for row in rows], image_size)]
    return [(str(path), _hash_fraction(f"{seed}/{path.name}")) for path in readable]


def doubt_scores(
    model: Detector, paths: list[Path], size: int, parameters: MiningParameters, monitor: Monitor, doubt: Callable[[FloatArray], FloatArray]
) -> Scores:
    """The mean doubt over a picture's boxes; a picture without boxes gets the median of the others: nothing is known about it."""
    settings = InferParameters(parameters.batch_size, size, LEAST_SCORE, parameters.nms_thres, parameters.max_boxes)
    found = [(str(path), boxes.scores) for path, boxes, _ in detect(model, paths, size, settings, monitor.progress)]
    means = [float(doubt(scores).mean()) for _, scores in found if len(scores)]
    neutral = float(np.median(means)) if means else 0.0
    return [(path, float(doubt(scores).mean()) if len(scores) else neutral) for path, scores in found]


def binary_entropy(p: FloatArray) -> FloatArray:
    """(n,) in [0, 1]: bits of doubt whether a box with score p is right."""
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


def core_set_scores(model: Detector, paths: list[Path], size: int, parameters: MiningParameters, monitor: Monitor) -> Scores:
    """Greedy k-centre (arXiv 1708.00489): each pick is the picture farthest from the earlier ones; its score is that distance."""
    names, features = describe_pictures(model, paths, size, parameters.batch_size, monitor)
    if not names:
        return []
    return [(names[index], distance) for index, distance in farthest_first(features, features.mean(0, keepdims=True))]


def describe_pictures(model: Detector, paths: list[Path], size: int, batch_size: int, monitor: Monitor) -> tuple[list[str], FloatArray]:
    """Readable pictures and their feature vectors (n, d)."""
    names, parts = [], [np.zeros((0, 1), np.float32)][:0]
    device = next(model.parameters()).device
    for rows in chunks(len(paths), batch_size):
        batch = read_batch([paths[row] for row in rows], size)
        if batch:
            with torch.inference_mode(), precision(device):
                parts.append(model.features(as_input(pad_together([b[1] for b in batch]), device)).float().cpu().numpy())
            names += [str(path) for path, *_ in batch]
        monitor.progress(0.9 * rows.stop / len(paths))
    return names, np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)


def farthest_first(features: FloatArray, known: FloatArray) -> list[tuple[int, float]]:
    """Row numbers of features (n, d) from the farthest to the nearest, with distances that never grow; ``known`` (m, d) counts as picked."""
    nearest = np.min([np.linalg.norm(features - row, axis=1) for row in known], axis=0)
    order: list[tuple[int, float]] = []
    for _ in range(len(features)):
        pick = int(np.argmax(nearest))
        order.append((pick, float(nearest[pick])))
        nearest = np.minimum(nearest, np.linalg.norm(features - features[pick], axis=1))
        nearest[[index for index, _ in order]] = -1.0
    return order


def _hash_fraction(text: str) -> float:
    return int(hashlib.sha256(text.encode()).hexdigest()[:13], 16) / 16**13
