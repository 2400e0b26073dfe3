"""Writes COCO: one JSON file per split, with the pictures of the split in a folder of its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from contracts.dataset import Annotation, Marks, Sample
from contracts.job import JobWarning
from contracts.seams import Export
from plugins.formats.losses import Losses
from plugins.formats.run_length import decompress
from plugins.formats.writing import PictureNames, is_unlabeled, place_picture

_HELD = frozenset({"score", "segmentation", "crowd", "difficult", "quality", "angle", "attributes", "annotated_by"})
_HELD_OF_SAMPLES = frozenset({"hard", "tags", "state", "predictions"})
#: Folders of the layout, which no split may take.
_TAKEN = ("annotations", "results")


def write_coco(folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
    """As ``CocoFormat.write`` says."""
    losses, names = Losses("COCO"), PictureNames()
    (folder / "annotations").mkdir()
    with ExitStack() as stack:
        splits: dict[str, _Split] = {}
        for number, sample in enumerate(samples, start=1):
            losses.note_sample(sample, _HELD_OF_SAMPLES if export.hard else _HELD_OF_SAMPLES - {"hard"})
            name = names.name(sample)
            place_picture(sample, folder / split_folder(sample.split) / name, export)
            if sample.split not in splits:
                splits[sample.split] = stack.enter_context(_Split(folder, sample.split, export, losses))
            splits[sample.split].add(sample, name, number)
    return losses.warnings()


def split_folder(split: str) -> str:
    """Where the pictures of a split lie."""
    return f"split_{split}" if split in _TAKEN else split or "images"


class _Split:
    """The files of one split: images go into the one that stays, annotations and results are kept aside until all are known."""

    def __init__(self, folder: Path, split: str, export: Export, losses: Losses) -> None:
        self._folder, self._split, self._export, self._losses = folder, split or "all", export, losses
        self._class_ids = {name: number for number, name in enumerate(export.class_names, start=1)}
        self._file = folder / "annotations" / f"instances_{self._split}.json"
        self._images = _List(self._file, _begin({"description": f"{export.dataset}@{export.version}", "version": export.version}))
        self._annotations = _List(self._file.with_suffix(".part"), "")
        self._results: _List | None = None
        self._unseen = 0

    def __enter__(self) -> _Split:
        return self

    def __exit__(self, failure: type[BaseException] | None, *rest: object) -> None:
        for part in filter(None, (self._images, self._annotations, self._results)):
            part.file.close()
        if failure is None:
            self._finish()

    def add(self, sample: Sample, name: str, number: int) -> None:
        """A picture that nobody looked at is in the folder only: that is how COCO tells it from one that shows nothing."""
        if is_unlabeled(sample) and sample.predictions is None:
            return
        entry = {"id": number, "file_name": name, "width": sample.asset.width, "height": sample.asset.height}
        self._images.add({**entry, **marks_entry(sample.marks, self._export.hard)})
        for box in sample.annotations:
            if box.shape == "image":
                self._losses.note("image")
                continue
            self._losses.note_annotation(box, _HELD)
            self._annotations.add({"id": self._annotations.count + 1, "image_id": number, **self._entry(box)})
        self._add_predictions(sample, number)

    def _add_predictions(self, sample: Sample, number: int) -> None:
        if sample.predictions is None:
            self._unseen += 1
            return
        if self._results is None:
            file = self._folder / "results" / f"instances_{self._split}.json"
            file.parent.mkdir(exist_ok=True)
            self._results = _List(file, "[\n")
        for box in sample.predictions:
            if box.shape == "image":
                self._losses.note("image")
                continue
            self._losses.note_annotation(box, _HELD)
            score = 1.0 if box.score is None else box.score
            self._results.add({"image_id": number, **self._entry(box), "score": score})

    def _entry(self, box: Annotation) -> dict[str, Any]:
        """The fields of COCO, and those of ours that are not as they mostly are."""
        category = self._class_ids.setdefault(box.class_name, len(self._class_ids) + 1)
        entry: dict[str, Any] = {"category_id": category, "bbox": [box.x, box.y, box.width, box.height], "area": area(box)}
        entry["iscrowd"] = int(box.crowd)
        if box.segmentation is not None:
            entry["segmentation"] = box.segmentation
        if box.score is not None:
            entry["score"] = box.score
        return {**entry, **extras_entry(box)}

    def _finish(self) -> None:
        if self._results is not None:
            self._results.end("\n]\n")
            if self._unseen:
                self._losses.note("unseen", "pictures that no model looked at, beside others with predictions", self._unseen)
        with self._file.open("ab") as whole, self._annotations.path.open("rb") as part:
            whole.write(b'\n],\n"annotations": [\n')
            shutil.copyfileobj(part, whole)
            categories = [{"id": number, "name": name, "supercategory": ""} for name, number in self._class_ids.items()]
            whole.write(f'\n],\n"categories": {_text(categories)}}}\n'.encode())
        self._annotations.path.unlink()


class _List:
    """The elements of a JSON list on their way into a file, one a line."""

    def __init__(self, path: Path, beginning: str) -> None:
        self.path, self.count = path, 0
        self.file: IO[bytes] = path.open("wb")
        self.file.write(beginning.encode())

    def add(self, entry: Mapping[str, Any]) -> None:
        self.file.write(((",\n" if self.count else "") + _text(entry)).encode())
        self.count += 1

    def end(self, text: str) -> None:
        with self.path.open("ab") as file:
            file.write(text.encode())


def extras_entry(box: Annotation) -> dict[str, Any]:
    """The fields of an annotation that COCO does not know, where they say something."""
    said = {
        "difficult": int(box.difficult),
        "quality": box.quality if box.quality != -1.0 else None,
        "angle": box.angle or None,
        "annotated_by": box.annotated_by,
        "attributes": dict(box.attributes),
    }
    return {name: value for name, value in said.items() if value not in (None, 0, "", {})}


def marks_entry(marks: Marks, hard: bool) -> dict[str, Any]:
    """The marks of a sample, where they say something; those of hard examples only when they are asked for."""
    said: dict[str, Any] = {"state": marks.state, "tags": dict(marks.tags)}
    if hard:
        said |= {"hard": marks.hard, "hard_coefficient": marks.hard_coefficient, "hard_reasons": list(marks.hard_reasons)}
    return {name: value for name, value in said.items() if value is not None and value not in ("", {}, []) and value is not False}


def area(box: Annotation) -> float:
    """Pixels: of the polygons (shoelace formula), of the mask (its odd runs), else of the box."""
    if isinstance(box.segmentation, dict):
        return float(sum(decompress(str(box.segmentation["counts"]))[1::2]))
    if not box.segmentation:
        return float(box.width * box.height)
    return sum(abs(_shoelace(polygon)) for polygon in box.segmentation)


def _shoelace(polygon: list[float]) -> float:
    xs, ys = polygon[::2], polygon[1::2]
    return sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs))) / 2


def _begin(info: Mapping[str, Any]) -> str:
    return f'{{"info": {_text(info)},\n"licenses": [],\n"images": [\n'


def _text(value: Any) -> str:
    """JSON without the numbers that are none: they would break other readers."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
