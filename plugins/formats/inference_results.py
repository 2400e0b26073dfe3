"""What a model found, as ModelArts lays it out: ``images/1.jpg`` and ``inference_results/1.jpg_result.txt``, one JSON document each.

modelarts-spec 1.6 and 3: boxes are ``y_min, x_min, y_max, x_max`` in pixels, the confidences of a classification are text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from contracts.dataset import Annotation, Sample
from contracts.job import JobWarning
from contracts.seams import Export, Format, Found, ImportedImage, Locate, PredictedBy, Skip, not_located
from plugins.formats.left_out import LeftOut
from plugins.formats.listing import Listing, UnreadableFileError, folder_split_of, list_folder, shown
from plugins.formats.values import BadValueError, exact_sum, number_text, read_class_name, read_number
from plugins.formats.writing import PictureNames, place_picture

FOLDER, ENDING = "inference_results", "_result.txt"
LARGEST_RESULT_BYTES = 100 * 1024**2
_LISTS = ("detection_classes", "detection_boxes", "detection_scores")


class InferenceResultsFormat(Format):
    """ModelArts inference results: images/ and inference_results/ with a <picture>_result.txt of JSON for each."""

    name: ClassVar[str] = "inference-results"

    def detect(self, folder: Path) -> str:
        found = _results(list_folder(folder))
        return f"{len(found)} results in {FOLDER}, such as {shown(found[0])}" if found else ""

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:  # noqa: ARG002 - it names no addresses
        """Results are predictions. A picture whose result cannot be read is left out; one without a result was not looked at."""
        listing = list_folder(folder)
        yield from listing.skips
        yield PredictedBy(FOLDER, {"layout": "modelarts"})
        results: dict[PurePosixPath, tuple[Annotation, ...] | None] = {}
        for file in _results(listing):
            yield from _read_file(listing, file, results)
        for picture in listing.pictures:
            split = folder_split_of(picture)
            predictions = results.get(picture)
            if predictions is not None or picture not in results:
                splits = (split,) if split else ()
                yield ImportedImage(listing.host(picture), shown(picture), None, splits, predictions=predictions)

    def write(self, folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
        """``images`` and ``inference_results``; a picture that no model looked at has no result."""
        names, left_out = PictureNames(), LeftOut()
        (folder / FOLDER).mkdir()
        for sample in samples:
            name = names.name(sample)
            place_picture(sample, folder / "images" / name, export)
            if sample.annotations:
                left_out.add("annotations", "annotations of pictures were left out: this is a layout of predictions", name)
            if sample.split:
                left_out.add("splits", "splits of pictures were left out", name)
            if sample.predictions is not None:
                text = result_text(sample.predictions, name, left_out)
                (folder / FOLDER / f"{name}{ENDING}").write_text(text, encoding="utf-8")
        return left_out.warnings()


def _results(listing: Listing) -> list[PurePosixPath]:
    return [file for file in listing.with_suffix(".txt") if file.name.endswith(ENDING) and file.parent.name == FOLDER]


def _read_file(listing: Listing, file: PurePosixPath, results: dict[PurePosixPath, tuple[Annotation, ...] | None]) -> Iterator[Skip]:
    try:
        picture = listing.find_picture(file.name.removesuffix(ENDING), file)
        if picture is None:
            raise UnreadableFileError("there is no picture for this result")
    except UnreadableFileError as error:
        yield Skip(shown(file), str(error), "file")
        return
    if picture in results:
        yield Skip(shown(file), f"is about {shown(picture)}, which another result is about already", "file")
        return
    try:
        results[picture], notes = read_result(listing.read_text(file, LARGEST_RESULT_BYTES))
    except UnreadableFileError as error:
        results[picture] = None
        yield Skip(shown(file), str(error), "file")
        yield Skip(shown(picture), f"its result {shown(file)} cannot be read", "image")
        return
    yield from (Skip(f"{shown(file)}#{place}", reason, "box") for place, reason in notes)


def read_result(text: str) -> tuple[tuple[Annotation, ...], list[tuple[str, str]]]:
    """The predictions of one document, and (place, reason) of those that cannot be read. Raises ``UnreadableFileError``."""
    try:
        document = json.loads(text, parse_float=Decimal, parse_constant=str)
    except (ValueError, ArithmeticError, RecursionError, MemoryError) as error:
        raise UnreadableFileError(f"is not readable JSON: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(document, dict):
        raise UnreadableFileError("is not a JSON object")
    if any(key in document for key in _LISTS):
        return _read_detection(document)
    if "predicted_label" in document or "predict_label" in document or "scores" in document:
        return _read_classification(document)
    raise UnreadableFileError(f"has neither {', '.join(_LISTS)} nor predicted_label")


def _read_detection(document: Mapping[str, Any]) -> tuple[tuple[Annotation, ...], list[tuple[str, str]]]:
    lists = [document.get(key) for key in _LISTS]
    for key, values in zip(_LISTS, lists, strict=True):
        if not isinstance(values, list):
            raise UnreadableFileError(f"{key} is not a list")
    if len({len(values) for values in lists if values is not None}) > 1:
        raise UnreadableFileError(f"{', '.join(_LISTS)} are not equally long")
    found, notes = [], []
    for index, (name, box, score) in enumerate(zip(*(values or () for values in lists), strict=True)):
        try:
            found.append(_read_box(name, box, score))
        except BadValueError as error:
            notes.append((f"detection_boxes[{index}]", str(error)))
    return tuple(found), notes


def _read_box(name: Any, box: Any, score: Any) -> Annotation:
    class_name = read_class_name(name)
    if not isinstance(box, list) or len(box) != 4:
        raise BadValueError(f"{class_name}: is not a list of y_min, x_min, y_max, x_max")
    y1, x1, y2, x2 = (Decimal(str(_number(value, name))) for value, name in zip(box, ("y_min", "x_min", "y_max", "x_max"), strict=True))
    if x2 < x1 or y2 < y1:
        raise BadValueError(f"{class_name}: its end lies before its beginning")
    return Annotation(class_name, float(x1), float(y1), float(exact_sum(x2, -x1)), float(exact_sum(y2, -y1)), score=_score(score))


def _number(value: Any, name: str) -> Any:
    """The value as it stands, once it is known to be a number: a ``Decimal`` keeps the digits that were written."""
    read_number(float(value) if isinstance(value, Decimal) else value, name)
    return value


def _score(value: Any) -> float:
    score = read_number(float(value) if isinstance(value, Decimal) else value, "the score")
    if not 0 <= score <= 1:
        raise BadValueError(f"the score {score:g} is not between 0 and 1")
    return score


def _read_classification(document: Mapping[str, Any]) -> tuple[tuple[Annotation, ...], list[tuple[str, str]]]:
    """Every label with its confidence, in the order of the file; the predicted one is marked when another is surer."""
    scores = document.get("scores", [])
    if not isinstance(scores, list):
        raise UnreadableFileError("scores is not a list")
    found: list[Annotation] = []
    notes = []
    for index, pair in enumerate(scores):
        try:
            if not isinstance(pair, list) or len(pair) != 2:
                raise BadValueError("is not a pair of a label and a confidence")
            found.append(_label(pair[0], _score(pair[1])))
        except BadValueError as error:
            notes.append((f"scores[{index}]", str(error)))
    try:
        return tuple(_with_predicted(found, document.get("predicted_label", document.get("predict_label")))), notes
    except BadValueError as error:
        return tuple(found), [*notes, ("predicted_label", str(error))]


def _label(name: Any, score: float, **attributes: Any) -> Annotation:
    return Annotation(read_class_name(name), 0, 0, 0, 0, score=score, shape="image", attributes=attributes)


def _with_predicted(found: list[Annotation], predicted: Any) -> list[Annotation]:
    if predicted is None:
        return found
    name = read_class_name(predicted)
    if not found:
        return [_label(name, 1.0)]
    if max(found, key=lambda label: label.score or 0.0).class_name == name:
        return found
    if name not in {label.class_name for label in found}:
        raise BadValueError(f"{name} has no confidence in scores")
    return [_label(name, label.score or 0.0, predicted=True) if label.class_name == name else label for label in found]


# ---------------------------------------------------------------------------------------------------------------- writing


def result_text(predictions: Iterable[Annotation], place: str, left_out: LeftOut) -> str:
    """The document of one picture: of boxes when there is one, or nothing was found; else of labels."""
    found = list(predictions)
    labels = [one for one in found if one.shape == "image"]
    if labels and len(labels) == len(found):
        return _classification_text(labels)
    if labels:
        left_out.add("image_labels", "labels of whole pictures have no place beside boxes", place)
    boxes = [_with_box(one, place, left_out) for one in found if one.shape != "image"]
    names = ", ".join(json.dumps(box.class_name, ensure_ascii=False) for box in boxes)
    corners = ", ".join(f"[{', '.join(map(number_text, _corners(box)))}]" for box in boxes)
    scores = ", ".join(number_text(_written_score(box)) for box in boxes)
    return f'{{"detection_classes": [{names}], "detection_boxes": [{corners}], "detection_scores": [{scores}]}}\n'


def _with_box(prediction: Annotation, place: str, left_out: LeftOut) -> Annotation:
    if prediction.shape != "box" or prediction.segmentation:
        left_out.add("outlines", "outlines and shapes were left out, their boxes were written", place)
    if prediction.attributes or prediction.quality != -1.0 or prediction.angle or prediction.crowd or prediction.difficult:
        left_out.add("attributes", "attributes of boxes were left out", place)
    return prediction


def _corners(box: Annotation) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    return exact_sum(box.y, 0), exact_sum(box.x, 0), exact_sum(box.y, box.height), exact_sum(box.x, box.width)


def _written_score(prediction: Annotation) -> float:
    return 1.0 if prediction.score is None else float(prediction.score)


def _classification_text(labels: list[Annotation]) -> str:
    best = max(labels, key=lambda label: (label.attributes.get("predicted") is True, _written_score(label)))
    scores = [[label.class_name, number_text(_written_score(label))] for label in labels]
    return json.dumps({"predicted_label": best.class_name, "scores": scores}, ensure_ascii=False) + "\n"
