"""Mining: which of the candidates are most worth labelling, by the strategies of the mining core."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from checkpoint import reported_classes
from coco import count_objects, log
from contract import (
    CONFIG_ERROR,
    IMAGE_FORMAT_ERROR,
    Env,
    ImageError,
    Monitor,
    read_class_names,
    read_index,
    read_parameters,
    write_aside,
    write_ranking,
)
from infer import Detector, Found, open_detector
from library import read_pixels
from mining import STRATEGIES, Boxes, Labelled, MiningError, Pool, Selection, select
from parameters import InferParameters, MiningParameters
from views import VIEWS

DEFAULT_SHARE = 0.1  # of the candidates, where the job gives no budget
#: What an image with a detector can tell of its candidates; the rest is in the job or nowhere.
OFFERED = frozenset({"predictions", "embeddings", "views", "features"})


def mine(env: Env, config: dict[str, Any], monitor: Monitor) -> None:
    """Writes result.tsv, every readable candidate with its score, highest first, and the reasons of each in mining-reasons.jsonl."""
    parameters = read_parameters(config, MiningParameters)
    needs = needs_of(parameters.mining_algorithm)
    settings = InferParameters(
        parameters.image_size, parameters.batch_size, parameters.conf_thres, parameters.nms_thres, parameters.max_boxes
    )
    detector = open_detector(config, settings)
    wanted = reported_classes(detector.facts, read_class_names(config))
    detector.embed, detector.embed_boxes = True, "features" in needs
    paths = [Path(row[0]) for row in read_index(env.input("candidate_index_file"))]
    found = look_at(detector, paths, lambda done: monitor.progress(0.6 * done))
    if not found:
        raise ImageError(IMAGE_FORMAT_ERROR, f"none of the {len(paths)} candidates can be read, the first is {paths[0]}")
    labelled = look_at_labelled(env, config, detector, lambda done: monitor.progress(0.6 + 0.2 * done))
    views = see_views(detector, found, wanted) if "views" in needs else None
    pool = make_pool(found, detector.facts.class_names, wanted, views, labelled)
    selection = choose(pool, parameters, len(paths))
    write_selection(env, selection)
    monitor.progress(1.0)
    log(f"mining: ranked {len(found)} of {len(paths)} pictures by {selection.strategy}; {json.dumps(selection.report, default=str)}")
    for sentence in selection.skipped:
        log(f"mining: {sentence}")


def offered_strategies() -> list[str]:
    """The strategies whose needs this image can meet."""
    usable = (name for name, strategy in STRATEGIES.items() if strategy.for_use and "detection" in strategy.kinds)
    return sorted(name for name in usable if STRATEGIES[name].needs <= OFFERED)


def needs_of(name: str) -> frozenset[str]:
    """What a strategy must know. Raises ImageError 300001 that lists the strategies for one that is not offered."""
    if name not in offered_strategies():
        raise ImageError(CONFIG_ERROR, f"mining_algorithm {name!r}: choose one of {', '.join(offered_strategies())}")
    return STRATEGIES[name].needs


def look_at(detector: Detector, paths: Sequence[Path], progress: Callable[[float], None]) -> list[Found]:
    """What is found in each readable picture; outlines are not kept: they would fill the memory, and nothing asks for them."""
    return [replace(one, masks=None) for one in detector.detect(paths, progress)]


def look_at_labelled(env: Env, config: dict[str, Any], detector: Detector, progress: Callable[[float], None]) -> Labelled:
    """What the model was trained on, where the job knows it: how often each class occurs, and a vector for each picture."""
    if not env.inputs.get("training_index_file"):
        return Labelled()
    rows = read_index(env.input("training_index_file"))
    counts = count_objects(rows, read_class_names(config))
    of_classes = np.array([counts.get(name, 0) for name in detector.facts.class_names], float)
    known = look_at(detector, [Path(row[0]) for row in rows], progress)
    return Labelled(of_classes, _vectors(known) if known else None, image_count=len(rows))


def make_pool(
    found: Sequence[Found],
    class_names: Sequence[str],
    wanted: set[int],
    views: dict[str, list[Boxes]] | None = None,
    labelled: Labelled | None = None,
) -> Pool:
    """What the mining core is told: boxes of the wanted classes, a vector for each picture, and what is labelled already."""
    return Pool(
        ids=[str(one.path) for one in found],
        class_names=list(class_names),
        predictions=[_boxes(one, wanted) for one in found],
        embeddings=_vectors(found),
        views=views,
        labelled=labelled or Labelled(),
    )


def see_views(detector: Detector, found: Sequence[Found], wanted: set[int]) -> dict[str, list[Boxes]]:
    """By view, what the network finds in each changed picture, in the pixels of the picture itself."""
    seen: dict[str, list[Boxes]] = {name: [] for name in VIEWS}
    for one in found:
        pixels = read_pixels(one.path)
        changed = [detector.prepare(one.path, make(pixels)) for make, _ in VIEWS.values()]
        for (name, (_, back)), again in zip(VIEWS.items(), detector.predict(changed), strict=True):
            boxes = _boxes(again, wanted)
            seen[name].append(Boxes(back(boxes.corners, one.size), boxes.scores, boxes.classes))
    return seen


def choose(pool: Pool, parameters: MiningParameters, candidate_count: int) -> Selection:
    """The core's ranking. Raises ImageError 300001 with its reason."""
    budget = parameters.budget or max(1, round(DEFAULT_SHARE * candidate_count))
    try:
        return select(pool, parameters.mining_algorithm, budget=budget, seed=parameters.seed)
    except MiningError as error:
        raise ImageError(CONFIG_ERROR, f"mining_algorithm {parameters.mining_algorithm}: {error}") from error


def write_selection(env: Env, selection: Selection) -> None:
    """result.tsv, and a line of reasons for each picture beside it."""
    result = env.output("mining_result_file")
    write_ranking(result, [(pick.id, pick.score) for pick in selection.picks])
    chosen = len(selection.selected)
    write_aside(result.with_name("mining-reasons.jsonl"), "".join(_reason_lines(selection, chosen)))


def _reason_lines(selection: Selection, chosen: int) -> Iterator[str]:
    for place, pick in enumerate(selection.picks):
        yield json.dumps({"image": pick.id, "score": pick.score, "hard": place < chosen, "reasons": [], "texts": list(pick.reasons)}) + "\n"


def _boxes(one: Found, wanted: set[int]) -> Boxes:
    boxes = Boxes(one.corners, one.scores, one.labels.astype(np.int64), features=one.features)
    return boxes.keep(np.isin(boxes.classes, sorted(wanted)))


def _vectors(found: Sequence[Found]) -> Any:
    return np.stack([one.embedding for one in found if one.embedding is not None]).astype(np.float32)
