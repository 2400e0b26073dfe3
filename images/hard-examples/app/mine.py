"""The hard-example operator over a job's candidates: reads predictions and training data, asks ``mining.hard_examples``, writes what it says."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from job_files.contract import (
    CLASSIFICATION,
    CONFIG_ERROR,
    DATASET_ERROR,
    Env,
    ImageError,
    Monitor,
    read_class_names,
    read_index,
    read_parameters,
    write_aside,
)
from mining.boxes import Boxes
from mining.hard_examples import Answer, ParameterError, Parameters, Question, Training, find_hard_examples
from mining.hard_examples.output import OutputError, Picture, write_failure, write_output, write_summary
from mining.hard_examples.pictures import EMBEDDER, Looks, look_at
from mining.hard_examples.weights import fit_weights, picture_errors
from outputs import REASONS, REPORT, SCORES, summary_path, write_reasons, write_report, write_scores
from predictions import ENDING, Reading, clip, read_boxes, read_labels
from training import Labelled, drawn, read_labelled

_SHOWN = 20


@dataclass(frozen=True)
class Extras:
    """What this image has beside ModelArts' parameters and those of the library."""

    fit_weights: bool = False
    training_pictures: int = 2000
    workers: int = 0


def mine(env: Env, config: dict[str, Any], monitor: Monitor) -> None:
    """Writes result.tsv and everything beside it; a failure is told in the task summary, too."""
    out_dir = env.output("root_dir")
    summary = summary_path(config.get("task_summary_file"), out_dir)
    with _told(summary):
        parameters, extras = _parameters(config)
        monitor.span(0.0, 0.5)
        candidates = _read_candidates(env, config, extras, monitor)
        monitor.span(0.5, 0.8)
        answer, report = _answer(candidates, parameters, extras, env, monitor)
        monitor.span(0.0, 1.0)
        monitor.progress(0.9)
        _write(out_dir, env, candidates, answer, report, parameters)
        if summary:
            write_summary(summary, answer)
    monitor.progress(1.0)
    _say(candidates, answer, report)


@contextmanager
def _told(summary: Path | None) -> Iterator[None]:
    """A failure becomes one of the contract's, and a summary of a task that failed."""
    try:
        try:
            yield
        except ParameterError as error:
            raise ImageError(CONFIG_ERROR, str(error)) from error
        except OutputError as error:
            raise ImageError(DATASET_ERROR, str(error)) from error
    except Exception as error:
        if summary:
            write_failure(summary, str(error) or type(error).__name__)
        raise


def _parameters(config: Mapping[str, Any]) -> tuple[Parameters, Extras]:
    """ModelArts' parameters and ours. The summary's path was judged already, and may be any below /out."""
    parameters = Parameters.parse({name: value for name, value in config.items() if name != "task_summary_file"})
    extras = read_parameters(dict(config), Extras)
    if extras.training_pictures < 0 or extras.workers < 0:
        raise ImageError(CONFIG_ERROR, "training_pictures and workers must not be below 0")
    return parameters, extras


# -------------------------------------------------------------------------------------------------------------- candidates


@dataclass(frozen=True)
class Candidates:
    """The pictures to judge. ``ids`` are their file names, ``paths`` by id as the index has them, ``names`` by id what they were imported under."""

    ids: list[str]
    paths: dict[str, str]
    names: dict[str, str]
    classification: bool
    reading: Reading
    boxes: list[Boxes | None] | None
    probabilities: np.ndarray | None
    looks: Looks

    @property
    def class_names(self) -> list[str]:
        return self.reading.class_names


def _read_candidates(env: Env, config: Mapping[str, Any], extras: Extras, monitor: Monitor) -> Candidates:
    folder = env.inputs.get("predictions_dir")
    if not folder or not Path(folder).is_dir():
        raise ImageError(DATASET_ERROR, "env.yaml names no folder of predictions (input.predictions_dir): this image mines by predictions")
    paths = {Path(row[0]).name: row[0] for row in read_index(env.input("candidate_index_file"))}
    ids, reading = list(paths), Reading(read_class_names(dict(config)))
    classification = config["object_type"] == CLASSIFICATION
    boxes = None if classification else read_boxes(Path(folder), ids, reading)
    probabilities = read_labels(Path(folder), ids, reading) if classification else None
    _refuse_nothing(reading, ids, Path(folder))
    items = [(Path(paths[name]), boxes[row] if boxes else None) for row, name in enumerate(ids)]
    looks = look_at(_counted(items, monitor), extras.workers or None)
    if boxes is not None:
        boxes = [None if found is None else clip(found, *looks.sizes[row].tolist(), reading) for row, found in enumerate(boxes)]
        looks = _with_clipped(looks, paths, ids, boxes, extras)
    return Candidates(ids, paths, _names(env), classification, reading, boxes, probabilities, looks)


def _counted(items: Sequence[tuple[Path, Boxes | None]], monitor: Monitor) -> Iterator[tuple[Path, Boxes | None]]:
    """The items, telling how far their measurement is: a job that says nothing for long may be ended."""
    for place, item in enumerate(items):
        monitor.progress(place / len(items))
        yield item


def _with_clipped(looks: Looks, paths: Mapping[str, str], ids: Sequence[str], boxes: Sequence[Boxes | None], extras: Extras) -> Looks:
    """The looks again of pictures of which boxes were left out: features of boxes have a row for each."""
    again = [
        row
        for row, found in enumerate(boxes)
        if found is not None and len(found) != len(looks.box_features[row]) and row not in looks.errors
    ]
    if not again:
        return looks
    anew = look_at([(Path(paths[ids[row]]), boxes[row]) for row in again], extras.workers or None)
    features, of_boxes = looks.features.copy(), list(looks.box_features)
    for place, row in enumerate(again):
        features[row], of_boxes[row] = anew.features[place], anew.box_features[place]
    return replace(looks, features=features, box_features=of_boxes)


def _refuse_nothing(reading: Reading, ids: Sequence[str], folder: Path) -> None:
    unreadable = len(reading.missing) + len(reading.broken)
    if unreadable < len(ids):
        return
    first = next(iter(reading.broken.items()), None)
    why = f"{first[0]}{ENDING}: {first[1]}" if first else f"{reading.missing[0]}{ENDING} is not there"
    raise ImageError(DATASET_ERROR, f"{folder} has no readable prediction for any of the {len(ids)} candidates: {why}")


def _names(env: Env) -> dict[str, str]:
    """By id; empty where the job does not say."""
    file = env.inputs.get("candidate_names_file")
    if not file or not Path(file).is_file():
        return {}
    rows = [line.split("\t") for line in Path(file).read_text(encoding="utf-8", errors="replace").splitlines()]
    return {Path(row[0]).name: row[1] for row in rows if len(row) > 1 and row[1]}


# ------------------------------------------------------------------------------------------------------------------ answer


def _answer(candidates: Candidates, parameters: Parameters, extras: Extras, env: Env, monitor: Monitor) -> tuple[Answer, dict[str, Any]]:
    labelled = _labelled(env, candidates)
    held_out, references = _divided(candidates, labelled, extras)
    question = _question(candidates, _training(references, candidates, parameters, extras, monitor), _views(env, candidates, parameters))
    answer = find_hard_examples(question, parameters)
    fitted: dict[str, Any] = {}
    if extras.fit_weights:
        answer, fitted = _fitted(candidates, held_out, question, answer, parameters)
    return answer, {**answer.report, **_facts(candidates, references, parameters), **fitted}


def _labelled(env: Env, candidates: Candidates) -> Labelled | None:
    file = env.inputs.get("training_index_file")
    if not file:
        return None
    return read_labelled(read_index(Path(file)), len(candidates.class_names), candidates.classification)


def _divided(candidates: Candidates, labelled: Labelled | None, extras: Extras) -> tuple[Labelled | None, Labelled | None]:
    """To fit weights, candidates with labels are the hold-out and the other training pictures the reference; else all are reference."""
    if labelled is None or not extras.fit_weights:
        return None, labelled
    inside = [row for row, path in enumerate(labelled.paths) if path.name in candidates.paths]
    outside = [row for row in range(len(labelled)) if labelled.paths[row].name not in candidates.paths]
    return labelled.take(inside), labelled.take(outside) if outside else None


def _training(
    labelled: Labelled | None, candidates: Candidates, parameters: Parameters, extras: Extras, monitor: Monitor
) -> Training | None:
    if labelled is None:
        return None
    chosen = drawn(labelled, extras.training_pictures, parameters.seed)
    items = [(path, chosen.boxes[row] if chosen.boxes else None) for row, path in enumerate(chosen.paths)]
    looks = look_at(_counted(items, monitor), extras.workers or None)
    return Training(
        boxes=chosen.boxes,
        labels=chosen.labels,
        features=looks.features,
        box_features=None if candidates.classification else looks.box_features,
        embeddings=looks.embeddings,
        embedder=EMBEDDER,
    )


def _question(candidates: Candidates, training: Training | None, views: Mapping[str, Any] | None) -> Question:
    looks = candidates.looks
    return Question(
        ids=candidates.ids,
        class_names=candidates.class_names,
        predictions=candidates.boxes,
        probabilities=candidates.probabilities,
        features=looks.features,
        box_features=None if candidates.classification else looks.box_features,
        embeddings=looks.embeddings,
        embedder=EMBEDDER,
        names=[candidates.names.get(name, name) for name in candidates.ids] if candidates.names else None,
        hashes=looks.hashes,
        views=views,
        training=training,
    )


def _views(env: Env, candidates: Candidates, parameters: Parameters) -> dict[str, Any] | None:
    """Predictions of changed pictures, mapped back to the picture as it is: ``predictions/views/<augmentation>/``, where somebody made them."""
    folder = Path(env.input("predictions_dir"), "views")
    if not folder.is_dir():
        return None
    found: dict[str, Any] = {}
    for name in parameters.operation_weights:
        if (folder / name).is_dir():
            reading = Reading(candidates.class_names)
            read = read_labels if candidates.classification else read_boxes
            found[name] = read(folder / name, candidates.ids, reading)
    return found or None


def _fitted(
    candidates: Candidates, held_out: Labelled | None, question: Question, answer: Answer, parameters: Parameters
) -> tuple[Answer, dict[str, Any]]:
    """The answer by weights that were fitted to the candidates with labels."""
    labels = {path.name: row for row, path in enumerate(held_out.paths)} if held_out is not None else {}
    rows = [row for row, name in enumerate(candidates.ids) if name in labels and not (candidates.boxes and candidates.boxes[row] is None)]
    try:
        if held_out is None:
            raise ValueError("none of the candidates is among the training data, which would say what is right")
        errors = _errors(candidates, held_out, rows, [labels[candidates.ids[row]] for row in rows], parameters)
        fitted = fit_weights(Answer(tuple(answer.rows[row] for row in rows), answer.report), errors)
    except ValueError as error:
        raise ImageError(DATASET_ERROR, f"fit_weights: {error}") from error
    numbers = {name: value for name, value in vars(fitted).items() if name not in ("weights", "config")}
    said = {"comprehensive_algo_config": fitted.config, **numbers}
    print(f"fit_weights: comprehensive_algo_config={fitted.config} intercept={fitted.intercept:.6f}", flush=True)
    return find_hard_examples(question, fitted.parameters(parameters)), {"fitted": said}


def _errors(candidates: Candidates, held_out: Labelled, rows: Sequence[int], places: Sequence[int], parameters: Parameters) -> np.ndarray:
    """(n,) how wrong the model is: 1 - F1 of boxes, 1 for a wrong label."""
    if candidates.boxes is not None and held_out.boxes is not None:
        found = [candidates.boxes[row] or Boxes() for row in rows]
        return picture_errors(found, [held_out.boxes[place] for place in places], parameters.score_threshold_low)
    if candidates.probabilities is None or held_out.labels is None:
        raise ValueError("predictions and training data are not of the same type")
    return (candidates.probabilities[list(rows)].argmax(axis=1) != held_out.labels[list(places)]).astype(float)


# ----------------------------------------------------------------------------------------------------------------- writing


def _write(out_dir: Path, env: Env, candidates: Candidates, answer: Answer, report: Mapping[str, Any], parameters: Parameters) -> None:
    """result.tsv comes last: where it is, all is."""
    pictures = {
        name: Picture(Path(candidates.paths[name]), candidates.paths[name], *_size(candidates, row))
        for row, name in enumerate(candidates.ids)
    }
    question = Question(candidates.ids, candidates.class_names, predictions=candidates.boxes, probabilities=candidates.probabilities)
    os.chdir(out_dir)  # so that addresses of what is copied are relative to the manifest
    write_output(Path(), _predicted(answer, candidates), question, pictures, parameters.output_dataset_type)
    write_reasons(out_dir / REASONS, answer, candidates.paths, candidates.class_names)
    write_scores(out_dir / SCORES, answer, candidates.names)
    write_report(out_dir / REPORT, report)
    rows = (f"{candidates.paths[row.id]}\t{row.coefficient:.8g}\n" for row in answer.ranked())
    write_aside(env.output("mining_result_file"), "".join(rows))


def _predicted(answer: Answer, candidates: Candidates) -> Answer:
    """Without the pictures that have no readable prediction: the manifest says of each what was predicted."""
    without = {*candidates.reading.missing, *candidates.reading.broken}
    return Answer(tuple(row for row in answer.rows if row.id not in without), answer.report) if without else answer


def _size(candidates: Candidates, row: int) -> tuple[int, int]:
    width, height = candidates.looks.sizes[row].tolist()
    return int(width), int(height)


def _facts(candidates: Candidates, references: Labelled | None, parameters: Parameters) -> dict[str, Any]:
    """What the report says of this run beside the operator's own words."""
    reading = candidates.reading
    unused = [name for name in ("model_serving_url", "train_data_path") if getattr(parameters, name)]
    return {
        "without_prediction": reading.missing,
        "unreadable_predictions": reading.broken,
        "unreadable_pictures": {candidates.ids[row]: why for row, why in candidates.looks.errors.items()},
        "mended": reading.notes,
        "training_pictures": 0 if references is None else len(references),
        "not_read": unused,
    }


def _say(candidates: Candidates, answer: Answer, report: Mapping[str, Any]) -> None:
    """The log: what was found, what was left out and why."""
    print(f"hard-examples: {len(answer.hard)} of {len(answer.rows)} pictures are hard; pictures described by {EMBEDDER}", flush=True)
    for name, why in report["skipped"].items():
        print(f"skipped {name}: {why}", flush=True)
    for name in report["not_read"]:
        print(f"{name} is not read: Sluice gives this image predictions and training data itself", flush=True)
    for name in candidates.reading.missing[:_SHOWN]:
        print(f"no prediction: {candidates.names.get(name, name)} ({name}{ENDING})", flush=True)
    for name, why in list(candidates.reading.broken.items())[:_SHOWN]:
        print(f"unreadable prediction: {candidates.names.get(name, name)} ({name}{ENDING}): {why}", flush=True)
    for what, count in candidates.reading.notes.items():
        print(f"{what} ({count} times)", flush=True)
