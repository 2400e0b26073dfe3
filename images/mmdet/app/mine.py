"""Mining: which of the candidates are most worth labelling. The mining core chooses; here is what the detector says of each candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from coco import labels_reader
from infer import Detector, Found, open_detector
from job_files.contract import Env, Monitor, read_class_names, read_index, read_parameters
from job_files.evaluate import FloatArray
from job_files.pictures import ByteArray, difference_hash
from job_files.selecting import (
    choose_strategy,
    find_hard,
    labelled_counts,
    rank,
    shown_boxes,
    views_for,
    write_hard,
    write_selection,
)
from job_files.weights import reported_classes
from library import read_pixels
from mining import Boxes, Labelled, Pool
from mining.hard_examples import Question
from mining.hard_examples.views import make_view
from parameters import InferParameters, MiningParameters
from PIL import Image

DETECTION = "detection"
#: The library's heads keep the best class of a box alone: no probabilities, and no maps of them.
GIVES = frozenset({"predictions", "features", "embeddings", "views", "hashes"})


def mine(env: Env, config: dict[str, Any], monitor: Monitor) -> None:
    """Writes result.tsv: every readable candidate with its score, highest first; and why the first of them are worth a label."""
    parameters = read_parameters(config, MiningParameters)
    strategy = choose_strategy(parameters.mining_algorithm, DETECTION, GIVES)
    looker = open_looker(config, parameters, with_features=strategy is not None and "features" in strategy.needs_of(DETECTION))
    paths = [Path(row[0]) for row in read_index(env.input("candidate_index_file"))]
    seen = looker.look(paths, views_for(strategy, DETECTION), lambda done: monitor.progress(0.7 * done))
    by_name, names = {path.name: path for path in paths}, looker.class_names
    if strategy is None:
        write_hard(env, find_hard(as_question(seen, names)), by_name, names)
    else:
        labelled = look_at_labelled(env, config, looker, lambda done: monitor.progress(0.7 + 0.2 * done))
        pool = replace(as_pool(seen, names), labelled=labelled)
        selection = rank(pool, strategy.name, budget=parameters.budget, seed=parameters.seed)
        boxes = dict(zip((path.name for path in seen.paths), seen.boxes, strict=True))
        write_selection(env, selection, by_name, lambda name: shown_boxes(boxes[name], names))
    monitor.progress(1.0)


@dataclass
class Seen:
    """What the model says of the readable candidates, one entry of each list for each; boxes in pixels of the file."""

    paths: list[Path] = field(default_factory=list)
    boxes: list[Boxes] = field(default_factory=list)
    embeddings: list[FloatArray] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    views: dict[str, list[Boxes]] = field(default_factory=dict)


def open_looker(config: dict[str, Any], parameters: MiningParameters, *, with_features: bool) -> Looker:
    """The job's model, which gives vectors of pictures, and ``with_features`` of boxes."""
    settings = InferParameters(
        parameters.image_size, parameters.batch_size, parameters.conf_thres, parameters.nms_thres, parameters.max_boxes
    )
    detector = open_detector(config, settings)
    detector.embed, detector.embed_boxes = True, with_features
    return Looker(detector, reported_classes(detector.facts.class_names, read_class_names(config)))


class Looker:
    """A detector that looks at pictures; boxes of classes that are not ``wanted`` are left out, and outlines: they would fill the memory."""

    def __init__(self, detector: Detector, wanted: set[int]) -> None:
        self.detector, self.class_names, self.wanted = detector, detector.facts.class_names, sorted(wanted)

    def look(self, paths: Sequence[Path], views: Sequence[str], progress: Callable[[float], None]) -> Seen:
        """One pass of the network over each candidate, and one more for each view: a name of ``mining.hard_examples.views``."""
        seen = Seen(views={name: [] for name in views})
        for one in self.detector.detect(paths, progress):
            pixels, boxes = read_pixels(one.path), self._boxes(one)
            seen.paths.append(one.path)
            seen.boxes.append(boxes)
            seen.embeddings.append(_vector(one))
            seen.hashes.append(difference_hash(pixels))
            if views:
                for found, changed in zip(seen.views.values(), self._look_changed(one.path, pixels, views, boxes), strict=True):
                    found.append(changed)
        return seen

    def embed(self, paths: Sequence[Path], progress: Callable[[float], None]) -> list[FloatArray]:
        """The vectors (d,) of the readable pictures."""
        return [_vector(one) for one in self.detector.detect(paths, progress)]

    def _look_changed(self, path: Path, pixels: ByteArray, views: Sequence[str], plain: Boxes) -> list[Boxes]:
        """What is found in each changed picture, in pixels of the picture as it was; ``plain`` is what was found there."""
        changed = [make_view(Image.fromarray(pixels), view) for view in views]
        answers = self.detector.predict([self.detector.prepare(path, np.asarray(one.picture)) for one in changed])
        return [one.map_back(self._boxes(answer), plain) for one, answer in zip(changed, answers, strict=True)]

    def _boxes(self, one: Found) -> Boxes:
        boxes = Boxes(one.corners, one.scores, one.labels.astype(np.int64), features=one.features)
        return boxes.keep(np.isin(boxes.classes, self.wanted))


def look_at_labelled(env: Env, config: dict[str, Any], looker: Looker, progress: Callable[[float], None]) -> Labelled:
    """What the model was trained on, where the job knows it: how often each class occurs, and a vector for each picture."""
    given = read_class_names(config)
    labelled = labelled_counts(env, labels_reader(len(given)), given, looker.class_names)
    if labelled.class_counts is None:
        return labelled
    vectors = looker.embed([Path(row[0]) for row in read_index(env.input("training_index_file"))], progress)
    return replace(labelled, embeddings=_stacked(vectors))


def as_pool(seen: Seen, class_names: Sequence[str]) -> Pool:
    """The candidates as the mining core takes them."""
    if not seen.paths:
        return Pool(())
    return Pool(
        [path.name for path in seen.paths],
        class_names,
        predictions=seen.boxes,
        embeddings=_stacked(seen.embeddings),
        views=seen.views or None,
        hashes=np.array(seen.hashes, np.uint64),
    )


def as_question(seen: Seen, class_names: Sequence[str]) -> Question:
    """The candidates as the hard-example operator takes them; what it needs of training data is not there."""
    return Question(
        [path.name for path in seen.paths],
        class_names,
        predictions=seen.boxes,
        embeddings=_stacked(seen.embeddings),
        embedder="mmdet",
        hashes=np.array(seen.hashes, np.uint64),
        views=seen.views,
    )


def _vector(one: Found) -> FloatArray:
    if one.embedding is None:
        raise RuntimeError(f"the detector gave no vector for {one.path}")
    return one.embedding


def _stacked(vectors: Sequence[FloatArray]) -> Any:
    return np.stack(vectors).astype(np.float32) if vectors else None
