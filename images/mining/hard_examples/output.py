"""What ModelArts' operator leaves behind: output.manifest, the folder Data/ and the task summary (modelarts-spec 1.7)."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mining.hard_examples.answer import Answer, BoxRow, Row
from mining.hard_examples.question import Question

ANNOTATED_BY = "modelarts/hard_example_algo"
MANIFEST, DATA = "output.manifest", "Data"


@dataclass(frozen=True)
class Picture:
    """A candidate's file: where it is, what its manifest line calls it (its address), and its size in pixels with the number of channels."""

    path: Path
    source: str
    width: int
    height: int
    depth: int = 3


class OutputError(Exception):
    """The output cannot be written; the message names the picture and what is in the way."""


def write_output(
    folder: Path, answer: Answer, question: Question, pictures: Mapping[str, Picture], output_dataset_type: str = "manifest"
) -> None:
    """``output.manifest`` with a line for each hard picture, and for ``directory`` their copies with labels in ``Data/``.

    ``pictures`` by id. The manifest comes last and at once: where it is, all is. Detection of the type ``manifest`` has its label files beside it, in
    ``annotations/``, as every line must name one. Raises ``OutputError`` before anything is written when two pictures would have the same name.
    """
    places = _places(answer, question, pictures, output_dataset_type)
    lines = [_written(folder, row, question, pictures[row.id], places[row.id]) for row in answer.hard]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_at_once(folder / MANIFEST, text)


def manifest_line(row: Row, question: Question, source: str, annotation_loc: str = "") -> dict[str, Any]:
    """One line: truth values and numbers as such, not as text. ``annotation_loc``: the label file of a detection."""
    if question.kind == "classification":
        name, confidence = predicted_class(question, row.id)
        label: dict[str, Any] = {"name": name, "type": "modelarts/image_classification", "confidence": confidence}
    else:
        label = {"annotation-loc": annotation_loc, "type": "modelarts/object_detection", "annotation-format": "PASCAL VOC"}
    return {
        "source": source,
        "hard": row.hard,
        "hard-reasons": row.reasons,
        "hard-coefficient": row.coefficient,
        "annotation": [{**label, "annotated-by": ANNOTATED_BY}],
    }


def write_summary(file: Path, answer: Answer) -> None:
    """``task_summary_file`` of a run that succeeded."""
    _write_json(file, {"task_status": "SUCCEED", "total_sample": len(answer.rows), "hard_sample": len(answer.hard)})


def write_failure(file: Path, message: str) -> None:
    """``task_summary_file`` of a run that failed."""
    _write_json(file, {"task_status": "FAILED", "error_message": message})


def predicted_class(question: Question, id_: str) -> tuple[str, float]:
    """The likeliest class of a picture and its probability. Raises ``OutputError`` for one that was not predicted."""
    probabilities = None if question.probabilities is None else question.probabilities[question.row_of[id_]]
    if probabilities is None or not (probabilities > 0).any():
        raise OutputError(f"{id_}: has no predicted class")
    best = int(max(range(len(probabilities)), key=lambda place: (probabilities[place] > 0, probabilities[place])))
    return question.class_names[best], float(probabilities[best])


@dataclass(frozen=True)
class _Place:
    """Paths below the output folder: of the copy, None for none, and of the label file, None for none."""

    copy: Path | None
    label: Path | None


def _places(answer: Answer, question: Question, pictures: Mapping[str, Picture], output_dataset_type: str) -> dict[str, _Place]:
    copied = output_dataset_type == "directory"
    taken: dict[Path, str] = {}
    places = {}
    for row in answer.hard:
        name = pictures[row.id].path.name
        if question.kind == "classification":
            place = _Place(Path(DATA, _folder(predicted_class(question, row.id)[0]), name) if copied else None, None)
        else:
            folder = Path(DATA) if copied else Path("annotations")
            place = _Place(folder / name if copied else None, (folder / name).with_suffix(".xml"))
        for path in (place.copy, place.label):
            other = taken.setdefault(path, row.id) if path is not None else row.id
            if other != row.id:
                raise OutputError(f"{row.id} and {other} would both be written to {path}: give them different names")
        places[row.id] = place
    return places


def _folder(class_name: str) -> str:
    """SECURITY: a class may be called ``../x``; its folder must lie in Data."""
    name = class_name.replace("/", "_").replace("\\", "_").replace("\0", "_")
    if name in ("", ".", ".."):
        raise OutputError(f"the class {class_name!r} cannot be a folder's name")
    return name


def _written(folder: Path, row: Row, question: Question, picture: Picture, place: _Place) -> dict[str, Any]:
    """Copies and labels one picture; its manifest line."""
    source, label = picture.source, ""
    if place.copy is not None:
        copy = folder / place.copy
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture.path, copy)
        source = str(copy)
    if place.label is not None:
        file = folder / place.label
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(voc_xml(row, question.class_names, picture))
        label = str(file)
    return manifest_line(row, question, source, label)


def voc_xml(row: Row, class_names: Sequence[str], picture: Picture) -> bytes:
    """The predicted boxes as Pascal VOC (modelarts-spec 5), each with its confidence, its hardness and its reasons."""
    root = ET.Element("annotation")
    for tag, text in (("folder", picture.path.parent.name or "NA"), ("filename", picture.path.name)):
        ET.SubElement(root, tag).text = _legal(text)
    ET.SubElement(ET.SubElement(root, "source"), "database").text = "Unknown"
    size = ET.SubElement(root, "size")
    for tag, number in (("width", picture.width), ("height", picture.height), ("depth", picture.depth)):
        ET.SubElement(size, tag).text = str(number)
    ET.SubElement(root, "segmented").text = "0"
    for box in row.boxes:
        _add_object(root, box, class_names)
    ET.indent(root, "    ")
    found: bytes = ET.tostring(root, encoding="utf-8")
    return found + b"\n"


def _add_object(root: ET.Element, box: BoxRow, class_names: Sequence[str]) -> None:
    found = ET.SubElement(root, "object")
    facts = {
        "name": class_names[box.class_index],
        "pose": "Unspecified",
        "truncated": "0",
        "occluded": "0",
        "difficult": "0",
        "confidence": f"{box.score:.6g}",
        "hard-coefficient": f"{box.hardness:.6g}",
        "hard-reasons": "-".join(str(code) for code in box.codes),
    }
    for tag, text in facts.items():
        if text:
            ET.SubElement(found, tag).text = _legal(text)
    corners = ET.SubElement(found, "bndbox")
    x1, y1, x2, y2 = box.corners
    # VOC's ends are the last pixel inside.
    for tag, value in (("xmin", x1), ("ymin", y1), ("xmax", max(x1, x2 - 1)), ("ymax", max(y1, y2 - 1))):
        ET.SubElement(corners, tag).text = f"{value:.3f}".rstrip("0").rstrip(".")


def _legal(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(c if c in "\t\n\r" or "\x20" <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "\ufffd" for c in text)


def _write_json(file: Path, document: Mapping[str, Any]) -> None:
    write_at_once(file, json.dumps(document, ensure_ascii=False) + "\n")


def write_at_once(file: Path, text: str) -> None:
    """The whole file or none of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.part")
    beside.write_text(text, encoding="utf-8", errors="backslashreplace")
    beside.replace(file)
