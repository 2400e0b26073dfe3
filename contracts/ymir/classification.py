"""Labels of whole pictures in the native contract, which YMIR itself never had: what a training is given, and what an inference leaves.

A training asks for ``export_format: cls:raw`` and finds a text for each picture with one class index a line, the picture's label first. An
inference leaves ``{"classification": {"<file name>": {"labels": [{"class_name": ..., "score": ...}]}}}`` in infer-result.json. What ModelArts'
models answer, ``{"predicted_label": ..., "scores": [[label, "0.589"], ...]}``, is read as well: in the place of such an entry, or as one file
``inference_results/<file name>_result.txt`` for each picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from contracts.dataset import Annotation, Sample
from contracts.errors import ResultMissingError
from contracts.ymir.annotations import write_each
from contracts.ymir.candidates import Candidates
from contracts.ymir.documents import decode, parse_json
from contracts.ymir.layout import INFERENCE_RESULT, RESULT_FILES, RESULT_SUFFIX
from contracts.ymir.malformed import kind_of, malformed
from contracts.ymir.numbers import json_number, unit_score
from contracts.ymir.out_dir import OutDir
from contracts.ymir.tolerances import Tolerances, printable, shorten

_LABEL_KEYS = ("predicted_label", "predict_label")
_MAX_RESULT_BYTES = 1024**2
_PLACE = "annotations"


def write_labels(samples: Iterable[Sample], class_ids: Mapping[str, int], annotations_dir: Path, tolerances: Tolerances) -> None:
    """``ab/<sha1>.txt`` for each sample: the indices of its labels, one a line, empty for a picture that has none of the classes."""
    write_each(samples, annotations_dir, "txt", lambda sample: labels_text(sample, class_ids, tolerances))


def labels_text(sample: Sample, class_ids: Mapping[str, int], tolerances: Tolerances) -> str:
    """Each label once, in the order the dataset has them. Boxes and other shapes say nothing of the whole picture."""
    if any(annotation.shape != "image" for annotation in sample.annotations):
        tolerances.add("box_as_label", "boxes are no labels of whole pictures and were not given", _PLACE, sample.name or sample.asset.id)
    labels = dict.fromkeys(annotation.class_name for annotation in sample.annotations if annotation.shape == "image")
    return "".join(f"{class_ids[name]}\n" for name in labels if name in class_ids)


def is_classification(document: Mapping[str, Any]) -> bool:
    """The form of this contract, or an object of ModelArts' answers by picture."""
    return "classification" in document or (bool(document) and all(_is_answer(entry) for entry in document.values()))


def read_classification(
    document: Mapping[str, Any], candidates: Candidates, classes: frozenset[str], tolerances: Tolerances
) -> dict[str, list[Annotation]]:
    """The labels by asset id, the surest first. Raises ``ResultMalformedError`` naming the place of what has the wrong type."""
    listed = document.get("classification") if "classification" in document else document if is_classification(document) else None
    if not isinstance(listed, dict):
        found = f"classification is {kind_of(listed)}" if "classification" in document else f"it has only {shorten(document) or 'nothing'}"
        raise malformed(INFERENCE_RESULT, f"{found}; it must hold an object 'classification' of image names")
    entries = ((image, entry, f"classification[{image!r}]") for image, entry in listed.items())
    return _collected(entries, INFERENCE_RESULT, candidates, classes, tolerances)


def read_result_files(
    out: OutDir, candidates: Candidates, classes: frozenset[str], tolerances: Tolerances
) -> dict[str, list[Annotation]] | None:
    """The labels of ``inference_results/*_result.txt`` by asset id, None where there is no such folder.

    Raises ``ResultMalformedError``, also for more than two files for each candidate.
    """
    folder = out.find(RESULT_FILES).path
    if folder is None or not folder.is_dir():
        return None
    names = sorted(path.name for path in folder.iterdir() if path.name.endswith(RESULT_SUFFIX))
    if not names:
        raise ResultMissingError(
            f"the image left no /out/{INFERENCE_RESULT}, and no file *{RESULT_SUFFIX} in /out/{RESULT_FILES}",
            hint="The image must write one of them before it exits.",
            place=RESULT_FILES,
        )
    if len(names) > 2 * len(candidates) + 10:
        raise malformed(RESULT_FILES, f"it holds {len(names)} files for {len(candidates)} pictures")
    entries = ((name.removesuffix(RESULT_SUFFIX), _read_file(out, name), name) for name in names)
    return _collected(entries, RESULT_FILES, candidates, classes, tolerances)


def _read_file(out: OutDir, name: str) -> Any:
    place = f"{RESULT_FILES}/{printable(name)}"
    try:
        return parse_json(decode(out.read(f"{RESULT_FILES}/{name}", _MAX_RESULT_BYTES))[0])[0]
    except ValueError as error:
        raise malformed(place, f"it is not JSON: {error}") from error


def _collected(
    entries: Iterable[tuple[str, Any, str]], file: str, candidates: Candidates, classes: frozenset[str], tolerances: Tolerances
) -> dict[str, list[Annotation]]:
    """``entries``: what an image said of each picture, and where it stands in ``file``."""
    predictions: dict[str, list[Annotation]] = {}
    for image, entry, place in entries:
        pairs = list(_pairs(entry, file, place, tolerances))
        match = candidates.find(image)
        if match is None:
            tolerances.add("infer_unknown_image", "images that are no candidates were dropped", file, image)
            continue
        if match.asset_id in predictions:
            tolerances.add("infer_image_twice", "images that stand twice; the last one counts", file, image)
        asset = candidates.asset(match)
        scores = _kept(pairs, classes, file, tolerances)
        labels = sorted(scores.items(), key=lambda pair: -pair[1])
        predictions[match.asset_id] = [
            Annotation(name, 0.0, 0.0, float(asset.width), float(asset.height), score=score, shape="image") for name, score in labels
        ]
    return predictions


def _pairs(entry: Any, file: str, place: str, tolerances: Tolerances) -> Iterator[tuple[str, float | None]]:
    """Class names with their scores as one picture's entry has them; None is no score."""
    if entry is None or entry == {} or entry == []:
        tolerances.add("infer_empty_entry", "images with an empty entry instead of an empty list of labels", file, place)
        return
    if not isinstance(entry, dict):
        raise malformed(file, f"{place} is {kind_of(entry)}, not an object")
    if "labels" not in entry and _is_answer(entry):
        yield from _answer_pairs(entry, file, place, tolerances)
        return
    labels = entry.get("labels")
    if not isinstance(labels, list):
        raise malformed(file, f"{place}: labels is {kind_of(labels)}, not a list")
    for number, label in enumerate(labels):
        if not isinstance(label, dict):
            raise malformed(file, f"{place}.labels[{number}] is {kind_of(label)}, not an object")
        yield _name(label.get("class_name"), file, f"{place}.labels[{number}].class_name"), unit_score(label.get("score"), file, tolerances)


def _is_answer(entry: Any) -> bool:
    return isinstance(entry, dict) and any(key in entry for key in (*_LABEL_KEYS, "scores"))


def _answer_pairs(entry: Mapping[str, Any], file: str, place: str, tolerances: Tolerances) -> Iterator[tuple[str, float | None]]:
    """ModelArts' answer. The predicted label comes first: of equal scores it is the surest; without scores it is sure."""
    scores = entry.get("scores", [])
    if not isinstance(scores, list):
        raise malformed(file, f"{place}.scores is {kind_of(scores)}, not a list")
    pairs = []
    for number, pair in enumerate(scores):
        if not isinstance(pair, list) or len(pair) != 2:
            raise malformed(file, f"{place}.scores[{number}] is not a pair of a label and a score")
        score = unit_score(json_number(pair[1]), file, tolerances)
        pairs.append((_name(pair[0], file, f"{place}.scores[{number}]"), score))
    predicted = next((entry[key] for key in _LABEL_KEYS if entry.get(key) is not None), None)
    if predicted is None:
        yield from pairs
        return
    first = _name(predicted, file, f"{place}.predicted_label")
    known = [pair for pair in pairs if pair[0] == first]
    yield from [*(known or [(first, None if pairs else 1.0)]), *(pair for pair in pairs if pair[0] != first)]


def _name(value: Any, file: str, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise malformed(file, f"{place} is {kind_of(value) if not isinstance(value, str) else 'empty'}, not the name of a class")
    return value.strip().lower()


def _kept(pairs: Iterable[tuple[str, float | None]], classes: frozenset[str], file: str, tolerances: Tolerances) -> dict[str, float]:
    """The highest score of each class that the job knows."""
    kept: dict[str, float] = {}
    for name, score in pairs:
        if classes and name not in classes:
            tolerances.add("infer_unknown_class", "labels of classes that the job does not have were dropped", file, printable(name)[:200])
        elif score is not None:
            if name in kept:
                tolerances.add("infer_label_twice", "labels that stand twice for one picture; the surer one counts", file, printable(name))
            kept[name] = max(score, kept.get(name, 0.0))
    return kept
