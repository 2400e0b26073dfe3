"""Mining: which of the candidates are most worth labelling."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checkpoint import load, reported_classes
from coreset import farthest_first
from data import chunks, log, pad_together
from evaluate import FloatArray
from infer import detect, read_batch
from job_files.contract import (
    CONFIG_ERROR,
    IMAGE_FORMAT_ERROR,
    Env,
    ImageError,
    Monitor,
    read_class_names,
    read_index,
    read_parameters,
    require_positive,
    write_ranking,
)
from job_files.device import as_input, choose_device, precision
from model import Detector
from parameters import InferParameters, MiningParameters

LEAST_SCORE = 0.05  # boxes below this are noise, not doubt
Scores = list[tuple[str, float]]


@dataclass(frozen=True)
class Pool:
    """The candidates and what looks at them; ``image_size`` is the longest side in pixels that the network sees."""

    model: Detector
    paths: list[Path]
    image_size: int
    parameters: MiningParameters
    monitor: Monitor


def mine(env: Env, config: dict[str, Any], monitor: Monitor) -> None:
    """Writes result.tsv: every readable candidate with its score, highest first."""
    parameters = read_parameters(config, MiningParameters)
    require_positive(parameters, "batch_size", "max_boxes")
    algorithm = parameters.mining_algorithm
    if algorithm not in ALGORITHMS:
        raise ImageError(CONFIG_ERROR, f"mining_algorithm {algorithm!r}: choose one of {', '.join(ALGORITHMS)}")
    model, facts = load(list(config.get("model_params_path") or []), choose_device(config))
    reported_classes(facts, read_class_names(config))
    paths = [Path(row[0]) for row in read_index(env.input("candidate_index_file"))]
    ranking = ALGORITHMS[algorithm](Pool(model, paths, parameters.image_size or facts.image_size, parameters, monitor))
    if not ranking:
        raise ImageError(IMAGE_FORMAT_ERROR, f"none of the {len(paths)} candidates can be read, the first is {paths[0]}")
    write_ranking(env.output("mining_result_file"), ranking)
    monitor.progress(1.0)
    log(f"mining: ranked {len(ranking)} of {len(paths)} pictures by {algorithm}")


def random_scores(pool: Pool) -> Scores:
    """A number in [0, 1) per readable picture that depends on the seed and its name only: more candidates do not shuffle the rest."""
    scores: Scores = []
    for rows in chunks(len(pool.paths), pool.parameters.batch_size):
        batch = read_batch([pool.paths[row] for row in rows], pool.image_size)
        scores += [(str(path), _hash_fraction(f"{pool.parameters.seed}/{path.name}")) for path, *_ in batch]
        pool.monitor.progress(rows.stop / len(pool.paths))
    return scores


def entropy_scores(pool: Pool) -> Scores:
    """The mean binary entropy of a picture's boxes, in bits."""
    return doubt_scores(pool, binary_entropy)


def least_confidence_scores(pool: Pool) -> Scores:
    """1 - the mean score of a picture's boxes."""
    return doubt_scores(pool, lambda scores: 1 - scores)


def doubt_scores(pool: Pool, doubt: Callable[[FloatArray], FloatArray]) -> Scores:
    """The mean doubt over a picture's boxes; a picture without boxes gets the median of the others: nothing is known about it."""
    p = pool.parameters
    settings = InferParameters(p.batch_size, pool.image_size, LEAST_SCORE, p.nms_thres, p.max_boxes)
    detections = detect(pool.model, pool.paths, pool.image_size, settings, pool.monitor.progress)
    found = [(str(path), float(doubt(boxes.scores).mean()) if len(boxes) else None) for path, boxes, _ in detections]
    neutral = float(np.median([mean for _, mean in found if mean is not None] or [0.0]))
    return [(path, neutral if mean is None else mean) for path, mean in found]


def binary_entropy(p: FloatArray) -> FloatArray:
    """(n,) in [0, 1]: bits of doubt whether a box with score p is right."""
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


def core_set_scores(pool: Pool) -> Scores:
    """Greedy k-centre (arXiv 1708.00489): each pick is the picture farthest from the earlier ones; its score is that distance.

    The mean of all pictures counts as picked: the first pick is the most unusual one.
    """
    names, features = describe_pictures(pool)
    if not names:
        return []
    return [(names[index], distance) for index, distance in farthest_first(features, features.mean(0))]


def describe_pictures(pool: Pool) -> tuple[list[str], FloatArray]:
    """Readable pictures and their feature vectors (n, d)."""
    names, parts = [], []
    device = next(pool.model.parameters()).device
    for rows in chunks(len(pool.paths), pool.parameters.batch_size):
        batch = read_batch([pool.paths[row] for row in rows], pool.image_size)
        if batch:
            with torch.inference_mode(), precision(device):
                features = pool.model.features(as_input(pad_together([picture for _, picture, _ in batch]), device))
            parts.append(features.float().cpu().numpy())
            names += [str(path) for path, *_ in batch]
        pool.monitor.progress(0.9 * rows.stop / len(pool.paths))
    return names, np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)


ALGORITHMS: dict[str, Callable[[Pool], Scores]] = {
    "random": random_scores,
    "entropy": entropy_scores,
    "least_confidence": least_confidence_scores,
    "core_set": core_set_scores,
}


def _hash_fraction(text: str) -> float:
    return int(hashlib.sha256(text.encode()).hexdigest()[:13], 16) / 16**13
