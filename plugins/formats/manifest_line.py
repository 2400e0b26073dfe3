"""One line of a ModelArts manifest, typed: every key of modelarts-spec 4.2 and 4.3, for pictures, text, sound, tables and video.

Read tolerantly: ``hard`` as bool or text, numbers as text, ``usage`` in any case (traps T7, T8). What is mandatory and missing is refused
with the key that it should stand at; what is merely odd is kept without it and named in ``doubts``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from plugins.formats.listing import PICTURE_SUFFIXES
from plugins.formats.values import BadValueError, read_number
from plugins.formats.voc_read import read_reasons

PREFIX = "modelarts/"
CLASSIFICATION, DETECTION, SEGMENTATION = "image_classification", "object_detection", "image_segmentation"
#: The split that each usage means.
SPLITS = {"TRAIN": "train", "EVAL": "val", "TEST": "test", "INFERENCE": "pool"}
_KINDS = {
    CLASSIFICATION: "image", DETECTION: "image", SEGMENTATION: "image", "text_classification": "text", "text_entity": "text",
    "text_triplet": "text", "audio_classification": "audio", "audio_content": "audio", "audio_segmentation": "audio",
}  # fmt: skip
_SAMPLE_TYPES = {0: "image", 1: "text", 2: "audio", 4: "table", 6: "video"}
_SUFFIX_KINDS = {".wav": "audio", ".mp3": "audio", ".csv": "table", ".mp4": "video", ".avi": "video", ".mov": "video", ".mkv": "video"}
LINE_KEYS = frozenset(
    {"source", "usage", "id", "annotation", "inference-loc", "hard", "hard-coefficient", "hard-reasons", "sample-type", "property"}
)
LABEL_KEYS = frozenset(
    {"type", "name", "id", "property", "hard", "hard-coefficient", "annotated-by", "creation-time", "confidence", "annotation-loc",
     "annotation-format"}
)  # fmt: skip


@dataclass(frozen=True)
class Label:
    """One entry of ``annotation``. ``type`` is without its prefix; None: the key is not there; ``others``: keys that nobody described."""

    type: str
    name: str = ""
    id: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)
    hard: bool | None = None
    hard_coefficient: float | None = None
    annotated_by: str = "human"
    creation_time: str = ""
    confidence: float | None = None
    annotation_loc: str = ""
    others: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_file(self) -> bool:
        return self.type in (DETECTION, SEGMENTATION)


@dataclass(frozen=True)
class Line:
    """One sample. ``kind`` is ``image``, ``text``, ``audio``, ``table`` or ``video``; ``doubts`` name keys that were read as not there."""

    source: str
    kind: str
    usage: str = ""
    id: str = ""
    labels: tuple[Label, ...] = ()
    inference_loc: str = ""
    hard: bool = False
    hard_coefficient: float | None = None
    hard_reasons: tuple[int, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()


def read_line(text: str) -> Line:
    """The sample of one line. Raises ``BadValueError`` with the key in front: ``annotation[1].name: is missing``."""
    try:
        document = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except RecursionError as error:
        raise BadValueError("is nested too deeply") from error
    except (ValueError, MemoryError) as error:
        raise BadValueError(f"is not JSON: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(document, dict):
        raise BadValueError("is not a JSON object")
    doubts: list[str] = []
    labels = tuple(_read_labels(document.get("annotation"), doubts))
    source = _text(document, "source", "")
    if not source:
        raise BadValueError("source: is missing")
    return Line(
        source=source,
        kind=_kind(document, source, labels, doubts),
        usage=_usage(document, doubts),
        id=_text(document, "id", ""),
        labels=labels,
        inference_loc=_text(document, "inference-loc", ""),
        hard=_flag(document, "hard", "", doubts) or False,
        hard_coefficient=_share(document, "hard-coefficient", "", doubts),
        hard_reasons=read_reasons(_text(document, "hard-reasons", "")),
        properties=_mapping(document, ""),
        others={key: value for key, value in document.items() if key not in LINE_KEYS},
        doubts=tuple(doubts),
    )


def _read_labels(entries: Any, doubts: list[str]) -> list[Label]:
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise BadValueError("annotation: is not a list")
    return [_read_label(entry, f"annotation[{index}].", doubts) for index, entry in enumerate(entries)]


def _read_label(entry: Any, at: str, doubts: list[str]) -> Label:
    if not isinstance(entry, dict):
        raise BadValueError(f"{at[:-1]}: is not an object")
    kind = _text(entry, "type", at).removeprefix(PREFIX)
    if kind not in _KINDS:
        raise BadValueError(f"{at}type: " + (f"{kind[:60]!r} is not known" if kind else "is missing"))
    label = Label(
        type=kind,
        name=_text(entry, "name", at),
        id=_text(entry, "id", at),
        properties=_mapping(entry, at),
        hard=_flag(entry, "hard", at, doubts),
        hard_coefficient=_share(entry, "hard-coefficient", at, doubts),
        annotated_by=_text(entry, "annotated-by", at) if "annotated-by" in entry else "human",
        creation_time=_text(entry, "creation-time", at),
        confidence=_share(entry, "confidence", at, doubts),
        annotation_loc=_text(entry, "annotation-loc", at),
        others={key: value for key, value in entry.items() if key not in LABEL_KEYS},
    )
    _require(label, _text(entry, "annotation-format", at), at)
    return label


def _require(label: Label, format_: str, at: str) -> None:
    """What its type makes mandatory (modelarts-spec 4.3)."""
    if label.type.endswith("_classification") and not label.name:
        raise BadValueError(f"{at}name: is missing")
    if label.type == "text_triplet" and not label.id:
        raise BadValueError(f"{at}id: is missing")
    if label.has_file and not label.annotation_loc:
        raise BadValueError(f"{at}annotation-loc: is missing")
    if label.has_file and format_.upper() not in ("", "PASCAL VOC"):
        raise BadValueError(f"{at}annotation-format: {format_[:60]!r} is not PASCAL VOC")


def _kind(document: Mapping[str, Any], source: str, labels: tuple[Label, ...], doubts: list[str]) -> str:
    """A labelled frame of a video is a picture; so is what says nothing else."""
    if source.startswith("content://"):
        return "text"
    suffix = PurePosixPath(source).suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return "image"
    stated = document.get("sample-type")
    if stated is not None:
        try:
            return _SAMPLE_TYPES[int(read_number(stated, "sample-type"))]
        except (BadValueError, KeyError):
            doubts.append(f"sample-type: {stated!r:.40} is not known")
    return next((_KINDS[label.type] for label in labels if _KINDS[label.type] != "image"), _SUFFIX_KINDS.get(suffix, "image"))


def _usage(document: Mapping[str, Any], doubts: list[str]) -> str:
    usage = _text(document, "usage", "").upper()
    if usage and usage not in SPLITS:
        doubts.append(f"usage: {usage[:40]!r} is not known")
        return ""
    return usage


def _text(entry: Mapping[str, Any], key: str, at: str) -> str:
    value = entry.get(key)
    if value is None:
        return ""
    if isinstance(value, (dict, list, bool)):
        raise BadValueError(f"{at}{key}: is not a text")
    return str(value).strip()


def _mapping(entry: Mapping[str, Any], at: str) -> Mapping[str, Any]:
    value = entry.get("property")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadValueError(f"{at}property: is not an object")
    return value


def _flag(entry: Mapping[str, Any], key: str, at: str, doubts: list[str]) -> bool | None:
    value = entry.get(key)
    text = str(value).strip().lower()
    if value is None or text == "":
        return None
    if text in ("true", "1", "false", "0"):
        return text in ("true", "1")
    doubts.append(f"{at}{key}: {value!r:.40} is neither true nor false")
    return None


def _share(entry: Mapping[str, Any], key: str, at: str, doubts: list[str]) -> float | None:
    """A number from 0 to 1, perhaps as text."""
    value = entry.get(key)
    if value is None or value == "":
        return None
    try:
        number = read_number(value, f"{at}{key}:")
    except BadValueError as error:
        doubts.append(str(error))
        return None
    if not 0 <= number <= 1:
        doubts.append(f"{at}{key}: {number:g} is not between 0 and 1")
        return None
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text[:40]} is too large")
    return number
