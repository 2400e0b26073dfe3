"""A ModelArts manifest, written strictly in the published layout (modelarts-spec 7.4): typed values, VOC files beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from contracts.dataset import Annotation, Marks, Sample
from contracts.seams import Export
from plugins.formats.left_out import LeftOut
from plugins.formats.manifest_line import CLASSIFICATION, DETECTION, LABEL_KEYS, LINE_KEYS, PREFIX, SEGMENTATION, SPLITS
from plugins.formats.manifest_tags import KEPT, STATE, state_of, tag_value
from plugins.formats.voc import write_label
from plugins.formats.voc_write import VocFile, write_voc
from plugins.formats.writing import PictureNames, place_picture, shown_annotations

_USAGES = {split: usage for usage, split in SPLITS.items()}


class ManifestWriting:
    """The published layout of one version. Making it makes the folders."""

    def __init__(self, folder: Path, export: Export) -> None:
        identity = hashlib.sha1(export.dataset.encode(), usedforsecurity=False).hexdigest()[:20]
        self._folder, self._export = folder, export
        self._base = f"{export.dataset}-{identity}/annotation/{export.version}"
        self._names = PictureNames()
        self.left_out = LeftOut()
        (folder / self._base).mkdir(parents=True)
        self.manifest = folder / self._base / f"{export.version}.manifest"

    def line(self, sample: Sample) -> dict[str, Any]:
        """The line of one sample, whose files are written by then. The marks of hard examples are there only when they are asked for."""
        name = self._names.name(sample)
        place_picture(sample, self._folder / "images" / name, self._export)
        line: dict[str, Any] = {"source": f"images/{name}", "sample-type": 0}
        if usage := _USAGES.get(sample.split):
            line["usage"] = usage
        elif sample.split:
            self.left_out.add("splits", f"the split {sample.split!r} has no usage in a manifest", name)
        annotations = shown_annotations(sample, self._export, self.left_out)
        line |= _line_marks(sample.marks, annotations, hard=self._export.hard)
        if annotations is not None:
            line["annotation"] = self._labels(sample, name, annotations)
        return line

    def _labels(self, sample: Sample, name: str, annotations: tuple[Annotation, ...]) -> list[dict[str, Any]]:
        """One entry per label of the whole picture, and one for the label file of everything drawn in it; an empty file: nothing was found."""
        labels = [_label_entry(one, hard=self._export.hard) for one in annotations if one.shape == "image"]
        objects = [one for one in annotations if one.shape != "image"]
        return [*labels, self._write_file(sample, name, objects)] if objects or not labels else labels

    def _write_file(self, sample: Sample, name: str, objects: list[Annotation]) -> dict[str, Any]:
        stem = PurePosixPath(name).stem
        address = f"{self._base}/annotation/{stem}.xml"
        mask_address = f"{self._base}/segmentationClassRaw/{stem}.png"
        common = _common(objects)
        file = VocFile(
            name, sample.asset, objects, sample.marks, mask_address, "images", self._export.hard, with_marks=False, common=common
        )
        text, mask = write_voc(file, self.left_out)
        write_label(self._folder / address, text.encode())
        if mask:
            write_label(self._folder / mask_address, mask)
        outlined = any(one.segmentation for one in objects)
        return {
            "type": PREFIX + (SEGMENTATION if outlined else DETECTION),
            "annotation-loc": address,
            "annotation-format": "PASCAL VOC",
            **common,
        }


def _common(objects: list[Annotation]) -> dict[str, str]:
    """What all objects of a label file share, and the manifest says once. Where they do not, the file says it of each."""
    by = {one.annotated_by for one in objects}
    created = {one.attributes.get("creation-time") for one in objects}
    common = {"annotated-by": by.pop() if len(by) == 1 else ""}
    time = created.pop() if len(created) == 1 else None
    return {**common, "creation-time": time} if isinstance(time, str) and time else common


def _label_entry(label: Annotation, *, hard: bool) -> dict[str, Any]:
    rest = dict(label.attributes)
    entry: dict[str, Any] = {"type": PREFIX + CLASSIFICATION, "name": label.class_name, "annotated-by": label.annotated_by}
    marks = {"hard": rest.pop("hard", None), "hard-coefficient": rest.pop("hard-coefficient", None)}
    if hard:
        entry |= {key: value for key, value in marks.items() if value is not None}
    else:
        rest.pop("hard-reasons", None)
    confidence = rest.pop("confidence", None) if label.score is None else label.score
    if confidence is not None:
        entry["confidence"] = confidence
    for key in list(rest):
        own_key = key.removeprefix(KEPT)
        if key == "creation-time" or (own_key != key and (own_key == "id" or own_key not in LABEL_KEYS)):
            entry[own_key] = rest.pop(key)
    return {**entry, "property": rest} if rest else entry


def _line_marks(marks: Marks, annotations: tuple[Annotation, ...] | None, *, hard: bool) -> dict[str, Any]:
    """Strictly typed: ``hard`` is a bool, ``hard-coefficient`` a number, ``hard-reasons`` a text."""
    line: dict[str, Any] = {}
    if hard and marks.hard:
        line["hard"] = True
    if hard and marks.hard_coefficient is not None:
        line["hard-coefficient"] = float(marks.hard_coefficient)
    if hard and marks.hard_reasons:
        line["hard-reasons"] = "-".join(map(str, marks.hard_reasons))
    own, kept = _split_tags(marks.tags)
    if marks.state in ("to_be_confirmed", "labeled") and marks.state != (state_of(annotations) or "labeled"):
        own[STATE] = marks.state
    return {**kept, **line, **({"property": own} if own else {})}


def _split_tags(tags: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tags that are properties of the sample, and those that were keys of its line."""
    own = {key: tag_value(text) for key, text in tags.items() if not key.startswith(KEPT)}
    kept = {key.removeprefix(KEPT): tag_value(text) for key, text in tags.items() if key.startswith(KEPT)}
    return own, {key: value for key, value in kept.items() if key not in LINE_KEYS or key in ("id", "inference-loc")}
