"""Mining: which of the candidates are most worth labelling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from augment import place
from checkpoint import ModelFacts, load
from data import FloatArray, read_batches
from infer import logits_of
from job_files.contract import Env, Monitor, read_class_names, read_index, read_parameters, require_positive
from job_files.device import as_input, choose_device
from job_files.pictures import ByteArray, difference_hash
from job_files.selecting import choose_strategy, rank, write_selection
from job_files.weights import reported_classes
from metrics import softmax
from mining import Pool
from model import Classifier
from parameters import MiningParameters

CLASSIFICATION = "classification"
GIVES = frozenset({"predictions", "probabilities", "embeddings", "views", "hashes"})
#: Changes that keep what a picture shows: angle in degrees, factor, shift as a share of the side.
VIEWS = {"rotate": (8.0, 1.0, 0.0), "scale": (0.0, 0.8, 0.0), "translate": (0.0, 1.0, 0.08)}


@dataclass
class Looked:
    """What the model says of the readable candidates, batch after batch."""

    paths: list[Path] = field(default_factory=list)
    probabilities: list[FloatArray] = field(default_factory=list)
    embeddings: list[FloatArray] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    views: dict[str, list[FloatArray]] = field(default_factory=dict)


def mine(env: Env, config: dict[str, Any], monitor: Monitor) -> None:
    """Writes result.tsv: every readable candidate with its score, highest first; and why the first of them are worth a label."""
    parameters = read_parameters(config, MiningParameters)
    require_positive(parameters, "batch_size")
    strategy = choose_strategy(parameters.mining_algorithm, CLASSIFICATION, GIVES)
    model, facts = load(list(config.get("model_params_path") or []), choose_device(config))
    reported_classes(facts.class_names, read_class_names(config))
    paths = [Path(row[0]) for row in read_index(env.input("candidate_index_file"))]
    pool = as_pool(look(model, facts, paths, parameters, "views" in strategy.needs_of(CLASSIFICATION), monitor), facts.class_names)
    selection = rank(pool, strategy.name, budget=parameters.budget, seed=parameters.seed)
    write_selection(env, selection, {path.name: path for path in paths})
    monitor.progress(1.0)


def look(
    model: Classifier, facts: ModelFacts, paths: list[Path], parameters: MiningParameters, with_views: bool, monitor: Monitor
) -> Looked:
    """One pass of the model over each candidate, and one more for each view that is asked for."""
    seen = Looked()
    for batch, pictures, done in read_batches(paths, parameters.image_size or facts.image_size, parameters.batch_size):
        logits, features = logits_of(model, pictures)
        seen.paths += batch
        seen.probabilities.append(softmax(logits, facts.temperature))
        seen.embeddings.append(features)
        seen.hashes += [difference_hash(picture) for picture in pictures]
        for name, changed in views_of(pictures) if with_views else ():
            seen.views.setdefault(name, []).append(softmax(changed_logits(model, changed), facts.temperature))
        monitor.progress(0.9 * done)
    return seen


def views_of(pictures: ByteArray) -> Iterator[tuple[str, torch.Tensor]]:
    """Each change of VIEWS with the pictures (n, 3, S, S) changed so."""
    original, count = as_input(pictures, torch.device("cpu")), len(pictures)
    for name, (degrees, factor, shift) in VIEWS.items():
        yield (
            name,
            place(
                original, np.full(count, np.deg2rad(degrees)), np.full(count, factor), np.ones((2, count)), np.full((2, count), 2 * shift)
            ),
        )


@torch.inference_mode()
def changed_logits(model: Classifier, pictures: torch.Tensor) -> FloatArray:
    """(n, C) of pictures that are tensors already."""
    logits: FloatArray = model(pictures.to(next(model.parameters()).device)).float().cpu().numpy()
    return logits


def as_pool(seen: Looked, class_names: list[str]) -> Pool:
    """The candidates as the mining core takes them."""
    if not seen.paths:
        return Pool(())
    return Pool(
        [path.name for path in seen.paths],
        class_names,
        probabilities=np.concatenate(seen.probabilities).astype(float),
        embeddings=np.concatenate(seen.embeddings).astype(np.float32),
        views={name: np.concatenate(parts) for name, parts in seen.views.items()} or None,
        hashes=np.array(seen.hashes, np.uint64),
    )
