"""The predictions that an inference left: ``/out/infer-result.json`` (contract reference 5.4; the COCO form is in ``coco_result``, that of labels in
``classification``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.dataset import Annotation, Asset
from contracts.errors import ResultMissingError
from contracts.image import ObjectType
from contracts.results import InferenceResult
from contracts.ymir.candidates import Candidates
from contracts.ymir.classification import is_classification, read_classification, read_result_files
from contracts.ymir.coco_result import coco_predictions, is_coco
from contracts.ymir.documents import decode, parse_json
from contracts.ymir.layout import INFERENCE_RESULT, OLD_COCO_RESULT
from contracts.ymir.malformed import kind_of, malformed
from contracts.ymir.numbers import MAX_PIXEL, json_number, unit_score
from contracts.ymir.out_dir import OutDir
from contracts.ymir.tolerances import Tolerances, printable, shorten

_MAX_BYTES = 512 * 1024**2
_BOX_FIELDS = frozenset({"x", "y", "w", "h", "rotate_angle"})


def collect_inference(out_dir: Path, candidates: Sequence[Asset], object_type: ObjectType, class_names: Sequence[str]) -> InferenceResult:
    """The predictions by asset id. Classes are compared lower-cased; without ``class_names`` (multi-modal) every class is kept.

    Raises ``ResultMissingError`` without a result file, ``ResultMalformedError`` naming the place of what has the wrong type.
    """
    tolerances = Tolerances()
    known, classes = Candidates(candidates), frozenset(class_names)
    if object_type is ObjectType.CLASSIFICATION:
        labels = _labels(OutDir(out_dir), known, classes, tolerances)
        return InferenceResult({asset_id: tuple(found) for asset_id, found in labels.items()}, tolerances.warnings())
    name, document = _read(OutDir(out_dir), object_type, tolerances)
    if _reads_as_coco(document, object_type, name, tolerances):
        predictions = coco_predictions(document, known, classes, name, tolerances)
    else:
        predictions = _detections(document, known, classes, tolerances)
    return InferenceResult({asset_id: tuple(found) for asset_id, found in predictions.items()}, tolerances.warnings())


def _read(out: OutDir, object_type: ObjectType, tolerances: Tolerances) -> tuple[str, Mapping[str, Any]]:
    name, content = _content(out, object_type, tolerances)
    text, replaced = decode(content)
    if replaced:
        tolerances.add("infer_encoding", "the file is not UTF-8: unreadable characters were replaced", name)
    try:
        document, lost = parse_json(text)
    except ValueError as error:
        raise malformed(name, f"it is not JSON: {error}") from error
    if lost:
        tolerances.add("infer_duplicate_key", f"{lost} keys stand twice in their object; the last one counts", name)
    if not isinstance(document, dict):
        raise malformed(name, f"it is {kind_of(document)}, not an object")
    return name, document


def _labels(out: OutDir, candidates: Candidates, classes: frozenset[str], tolerances: Tolerances) -> dict[str, list[Annotation]]:
    """Labels of whole pictures; a file for each picture counts where there is no result of all."""
    try:
        _, document = _read(out, ObjectType.CLASSIFICATION, tolerances)
    except ResultMissingError:
        found = read_result_files(out, candidates, classes, tolerances)
        if found is None:
            raise
        return found
    if not is_classification(document):
        reason = f"it holds {shorten(document) or 'nothing'}; a classification leaves an object 'classification' of image names"
        raise malformed(INFERENCE_RESULT, reason)
    return read_classification(document, candidates, classes, tolerances)


def _content(out: OutDir, object_type: ObjectType, tolerances: Tolerances) -> tuple[str, bytes]:
    try:
        return INFERENCE_RESULT, out.read(INFERENCE_RESULT, _MAX_BYTES)
    except ResultMissingError:
        if object_type in (ObjectType.DETECTION, ObjectType.CLASSIFICATION) or out.find_file(OLD_COCO_RESULT).path is None:
            raise
    tolerances.add("infer_old_name", f"the result is named {OLD_COCO_RESULT} instead of {INFERENCE_RESULT}", OLD_COCO_RESULT)
    return OLD_COCO_RESULT, out.read(OLD_COCO_RESULT, _MAX_BYTES)


def _reads_as_coco(document: Mapping[str, Any], object_type: ObjectType, name: str, tolerances: Tolerances) -> bool:
    """The object type decides; a file that is clearly in the other form is read as what it is."""
    wanted = object_type is not ObjectType.DETECTION
    if wanted and "detection" in document and not is_coco(document):
        tolerances.add("infer_other_form", f"the detection form, where {object_type.label} has the COCO form", name)
        return False
    if not wanted and "detection" not in document and is_coco(document):
        tolerances.add("infer_other_form", "the COCO form, where detection has its own", name)
        return True
    return wanted


def _detections(
    document: Mapping[str, Any], candidates: Candidates, classes: frozenset[str], tolerances: Tolerances
) -> dict[str, list[Annotation]]:
    listed = document.get("detection")
    if not isinstance(listed, dict):
        found = (
            f"detection is {kind_of(listed)}"
            if "detection" in document
            else f"it has no 'detection', only {shorten(document) or 'nothing'}"
        )
        raise malformed(INFERENCE_RESULT, f"{found}; it must hold an object of image names")
    predictions: dict[str, list[Annotation]] = {}
    for image, entry in listed.items():
        boxes = _boxes(image, entry, tolerances)
        match = candidates.find(image)
        if match is None:
            tolerances.add("infer_unknown_image", "images that are no candidates were dropped", INFERENCE_RESULT, image)
            continue
        if match.by == "stem":
            tolerances.add(
                "infer_image_matched", "images without their extension were matched by the rest of the name", INFERENCE_RESULT, image
            )
        if match.asset_id in predictions:
            tolerances.add("infer_image_twice", "images that stand twice; the last one counts", INFERENCE_RESULT, image)
        read = (_prediction(box, f"detection[{image!r}][{i}]", classes, tolerances) for i, box in enumerate(boxes))
        predictions[match.asset_id] = [prediction for prediction in read if prediction]
    return predictions


def _boxes(image: str, entry: Any, tolerances: Tolerances) -> list[Any]:
    """``boxes``, or ``annotations`` as before protocol 1.0.0."""
    if entry is None or entry == {} or entry == []:
        tolerances.add("infer_empty_entry", "images with an empty entry instead of an empty list of boxes", INFERENCE_RESULT, image)
        return []
    if not isinstance(entry, dict):
        raise malformed(INFERENCE_RESULT, f"detection[{image!r}] is {kind_of(entry)}, not an object")
    if "boxes" not in entry and "annotations" in entry:
        tolerances.add("infer_old_key", "boxes stand under annotations, as before protocol 1.0.0", INFERENCE_RESULT)
    boxes = entry["boxes"] if "boxes" in entry else entry.get("annotations")
    if boxes is None:
        tolerances.add("infer_empty_entry", "images with an empty entry instead of an empty list of boxes", INFERENCE_RESULT, image)
        return []
    if not isinstance(boxes, list):
        raise malformed(INFERENCE_RESULT, f"detection[{image!r}]: the boxes are {kind_of(boxes)}, not a list")
    return boxes


def _prediction(entry: Any, place: str, classes: frozenset[str], tolerances: Tolerances) -> Annotation | None:
    if not isinstance(entry, dict):
        raise malformed(INFERENCE_RESULT, f"{place} is {kind_of(entry)}, not an object")
    class_name, box = entry.get("class_name"), entry.get("box")
    if not isinstance(class_name, str):
        raise malformed(INFERENCE_RESULT, f"{place}.class_name is {kind_of(class_name)}, not a text")
    if not isinstance(box, dict):
        raise malformed(INFERENCE_RESULT, f"{place}.box is {kind_of(box)}, not an object with x, y, w, h")
    x, y, w, h, angle = (_coordinate(box, field, place, tolerances) for field in ("x", "y", "w", "h", "rotate_angle"))
    score = unit_score(entry.get("score"), INFERENCE_RESULT, tolerances)
    name = class_name.strip().lower()
    name = name if name in classes else printable(name)[:200]
    if score is None or not _is_kept(name, (x, y, w, h), classes, tolerances):
        return None
    return Annotation(name, x, y, w, h, score=score, angle=angle if math.isfinite(angle) else 0.0)


def _coordinate(box: Mapping[str, Any], field: str, place: str, tolerances: Tolerances) -> float:
    """A number; 0 when it is missing, since protobuf leaves zeros out. The contract has whole pixels; fractions are kept."""
    if field not in box:
        if field != "rotate_angle":
            tolerances.add("infer_box_field_missing", "boxes without all of x, y, w, h; the missing one is 0", INFERENCE_RESULT)
        return 0.0
    if field == "x" and not _BOX_FIELDS.issuperset(box):
        tolerances.add("infer_box_field_unknown", "boxes with unknown fields", INFERENCE_RESULT, shorten(sorted(set(box) - _BOX_FIELDS)))
    value = box[field]
    if isinstance(value, str):
        tolerances.add("infer_number_as_text", "numbers written as texts", INFERENCE_RESULT, value)
    number = json_number(value)
    if number is None:
        raise malformed(INFERENCE_RESULT, f"{place}.box.{field} is {kind_of(value)}, not a number")
    if field != "rotate_angle" and math.isfinite(number) and number != math.floor(number):
        tolerances.add("infer_fraction", "boxes in fractions of pixels, where the contract has whole ones", INFERENCE_RESULT)
    return number


def _is_kept(name: str, box: Sequence[float], classes: frozenset[str], tolerances: Tolerances) -> bool:
    if not all(math.isfinite(v) and abs(v) <= MAX_PIXEL for v in box):
        tolerances.add(
            "infer_box_unusable", "boxes with coordinates that are no pixels (NaN, infinite or huge) were dropped", INFERENCE_RESULT
        )
    elif box[2] <= 0 or box[3] <= 0:
        tolerances.add("infer_box_without_area", "boxes without an area were dropped", INFERENCE_RESULT)
    elif classes and name not in classes:
        tolerances.add("infer_unknown_class", "boxes of classes that the job does not have were dropped", INFERENCE_RESULT, name)
    else:
        return True
    return False
