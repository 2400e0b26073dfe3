"""Mining: which of the candidates are most worth labelling. The mining core chooses; here is what the detector says of each candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from answers import answer_batch
from checkpoint import load
from data import FloatArray, pad_together, read_boxes
from infer import read_batch
from job_files.contract import Env, Monitor, read_class_names, read_index, read_parameters, require_positive
from job_files.device import as_input, choose_device, precision
from job_files.pictures import ByteArray, chunks, difference_hash
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
from mining import Boxes, Pool, Strategy
from mining.hard_examples import Question
from mining.hard_examples.views import make_view
from model import STRIDE, Detector
from parameters import InferParameters, MiningParameters
from PIL import Image

LEAST_SCORE = 0.05  # boxes below this are noise, not doubt
DETECTION = "detection"
GIVES = frozenset({"predictions", "probabilities", "features", "embeddings", "views", "class_maps", "hashes"})


def mine(env: Env, config: dict[str, Any], monitor: Monitor) -> None:
    """Writes result.tsv: every readable candidate with its score, highest first; and why the first of them are worth a label."""
    parameters = read_parameters(config, MiningParameters)
    require_positive(parameters, "batch_size", "max_boxes")
    strategy = choose_strategy(parameters.mining_algorithm, DETECTION, GIVES)
    model, facts = load(list(config.get("model_params_path") or []), choose_device(config))
    reported_classes(facts.class_names, read_class_names(config))
    paths = [Path(row[0]) for row in read_index(env.input("candidate_index_file"))]
    looker = Looker(model, parameters, parameters.image_size or facts.image_size)
    seen = looker.look(paths, views_for(strategy, DETECTION), lambda fraction: monitor.progress(0.9 * fraction))
    by_name = {path.name: path for path in paths}
    if strategy is None:
        write_hard(env, find_hard(as_question(seen, facts.class_names)), by_name, facts.class_names)
    else:
        given = read_class_names(config)
        labelled = labelled_counts(env, lambda _, file: read_boxes(file, given)[1].tolist(), given, facts.class_names)
        pool = replace(as_pool(seen, facts.class_names, looker, strategy), labelled=labelled)
        selection = rank(pool, strategy.name, budget=parameters.budget, seed=parameters.seed)
        boxes = dict(zip((path.name for path in seen.paths), seen.boxes, strict=True))
        write_selection(env, selection, by_name, lambda name: shown_boxes(boxes[name], facts.class_names))
    monitor.progress(1.0)


@dataclass
class Seen:
    """What the model says of the readable candidates, one entry of each list for each."""

    paths: list[Path] = field(default_factory=list)
    boxes: list[Boxes] = field(default_factory=list)
    embeddings: list[FloatArray] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    views: dict[str, list[Boxes]] = field(default_factory=dict)


class Looker:
    """A model that looks at pictures; ``image_size`` is the longest side in pixels that it sees."""

    def __init__(self, model: Detector, parameters: MiningParameters, image_size: int) -> None:
        self.model, self.image_size, self.batch_size = model, image_size, parameters.batch_size
        self.settings = InferParameters(parameters.batch_size, image_size, LEAST_SCORE, parameters.nms_thres, parameters.max_boxes)

    def look(self, paths: Sequence[Path], views: Sequence[str], progress: Callable[[float], None]) -> Seen:
        """One pass of the network over each candidate, and one more for each view: a name of ``mining.hard_examples.views``."""
        seen = Seen(views={name: [] for name in views})
        for rows in chunks(len(paths), self.batch_size):
            batch = read_batch([paths[row] for row in rows], self.image_size)
            if batch:
                pictures, factors = [picture for _, picture, _ in batch], [factor for *_, factor in batch]
                answers = answer_batch(self.model, pictures, self.settings)
                seen.paths += [path for path, *_ in batch]
                seen.boxes += [in_file(answer.boxes, factor) for answer, factor in zip(answers, factors, strict=True)]
                seen.embeddings += [answer.embedding for answer in answers]
                seen.hashes += [difference_hash(picture) for picture in pictures]
                for name, found in seen.views.items():
                    changed = self._look_changed(name, pictures, [answer.boxes for answer in answers])
                    found += [in_file(boxes, factor) for boxes, factor in zip(changed, factors, strict=True)]
            progress(rows.stop / len(paths))
        return seen

    def _look_changed(self, view: str, pictures: list[ByteArray], plain: list[Boxes]) -> list[Boxes]:
        """What is found in the changed pictures, in pixels of the pictures as they were; ``plain`` is what was found there."""
        changed = [make_view(Image.fromarray(picture), view) for picture in pictures]
        answers = answer_batch(self.model, [np.asarray(one.picture) for one in changed], self.settings)
        return [one.map_back(answer.boxes, boxes) for one, answer, boxes in zip(changed, answers, plain, strict=True)]

    @torch.inference_mode()
    def class_maps(self, path: Path) -> FloatArray:
        """(C, h, w) the probability of each class at each cell of one picture, read and looked at anew."""
        picture = read_batch([path], self.image_size)[0][1]
        device = next(self.model.parameters()).device
        with precision(device):
            logits, _ = self.model(as_input(pad_together([picture]), device))
        height, width = (-(-side // STRIDE) for side in picture.shape[:2])
        maps: FloatArray = logits[0, :, :height, :width].float().sigmoid().cpu().numpy()
        return maps


def as_pool(seen: Seen, class_names: list[str], looker: Looker, strategy: Strategy) -> Pool:
    """The candidates as the mining core takes them."""
    if not seen.paths:
        return Pool(())
    return Pool(
        [path.name for path in seen.paths],
        class_names,
        predictions=seen.boxes,
        embeddings=np.stack(seen.embeddings).astype(np.float32),
        views=seen.views or None,
        hashes=np.array(seen.hashes, np.uint64),
        class_maps=(lambda row: looker.class_maps(seen.paths[row])) if "class_maps" in strategy.needs_of(DETECTION) else None,
    )


def as_question(seen: Seen, class_names: list[str]) -> Question:
    """The candidates as the hard-example operator takes them; what it needs of training data is not there."""
    return Question(
        [path.name for path in seen.paths],
        class_names,
        predictions=seen.boxes,
        embeddings=np.stack(seen.embeddings).astype(float) if seen.embeddings else None,
        embedder="tinydet",
        hashes=np.array(seen.hashes, np.uint64),
        views=seen.views,
    )


def in_file(boxes: Boxes, factor: float) -> Boxes:
    """The boxes in pixels of the file, which was made ``factor`` times as large."""
    return replace(boxes, corners=boxes.corners / factor)
