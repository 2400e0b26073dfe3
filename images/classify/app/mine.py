"""Mining: which of the candidates are most worth labelling."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from checkpoint import ModelFacts, load
from data import FloatArray, read_batches, read_labels
from infer import logits_of
from job_files.contract import Env, Monitor, read_class_names, read_index, read_parameters, require_positive
from job_files.device import choose_device
from job_files.pictures import difference_hash
from job_files.selecting import (
    choose_strategy,
    find_hard,
    labelled_counts,
    rank,
    views_for,
    write_hard,
    write_selection,
)
from job_files.weights import reported_classes
from metrics import softmax
from mining import Pool, Strategy
from mining.hard_examples import Question
from mining.hard_examples.views import make_view
from model import Classifier
from parameters import MiningParameters
from PIL import Image

CLASSIFICATION = "classification"
GIVES = frozenset({"predictions", "probabilities", "embeddings", "views", "hashes"})


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
    seen = look(model, facts, paths, parameters, steady_views(strategy), monitor)
    by_name = {path.name: path for path in paths}
    if strategy is None:
        write_hard(env, find_hard(as_question(seen, facts.class_names)), by_name, facts.class_names)
    else:
        given = read_class_names(config)
        labelled = labelled_counts(env, lambda _, file: read_labels(file, len(given)), given, facts.class_names)
        selection = rank(
            replace(as_pool(seen, facts.class_names), labelled=labelled), strategy.name, budget=parameters.budget, seed=parameters.seed
        )
        write_selection(env, selection, by_name)
    monitor.progress(1.0)


def steady_views(strategy: Strategy | None) -> tuple[str, ...]:
    """Which changed pictures are looked at, too, none of them mirrored, which may be another class; None is the hard-example operator."""
    return tuple(name for name in views_for(strategy, CLASSIFICATION) if not name.startswith("flip"))


def look(
    model: Classifier, facts: ModelFacts, paths: list[Path], parameters: MiningParameters, views: tuple[str, ...], monitor: Monitor
) -> Looked:
    """One pass of the model over each candidate, and one more for each view: a name of ``mining.hard_examples.views``."""
    seen = Looked(views={name: [] for name in views})
    for batch, pictures, done in read_batches(paths, parameters.image_size or facts.image_size, parameters.batch_size):
        logits, features = logits_of(model, pictures)
        seen.paths += batch
        seen.probabilities.append(softmax(logits, facts.temperature))
        seen.embeddings.append(features)
        seen.hashes += [difference_hash(picture) for picture in pictures]
        for name, found in seen.views.items():
            changed = np.stack([np.asarray(make_view(Image.fromarray(picture), name).picture) for picture in pictures])
            found.append(softmax(logits_of(model, changed)[0], facts.temperature))
        monitor.progress(0.9 * done)
    return seen


def as_question(seen: Looked, class_names: list[str]) -> Question:
    """The candidates as the hard-example operator takes them; what it needs of training data is not there."""
    if not seen.paths:
        return Question(())
    return Question(
        [path.name for path in seen.paths],
        class_names,
        probabilities=np.concatenate(seen.probabilities).astype(float),
        embeddings=np.concatenate(seen.embeddings).astype(float),
        embedder="classify",
        hashes=np.array(seen.hashes, np.uint64),
        views={name: np.concatenate(parts) for name, parts in seen.views.items()},
    )


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
