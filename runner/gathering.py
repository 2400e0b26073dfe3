"""What an import has found so far, as columns: a Python object for each of ten million boxes would not fit into memory.

Of each picture only a few words stay as objects, what a second file of the same content must be compared with. The rest becomes Arrow columns
every few thousand rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from contracts.dataset import Annotation, Marks
from runner.dataset_files import Entry, reasons_text
from runner.tables import ANNOTATIONS, IMAGES, WORD, Tables, concatenated, ordered, replaced, table_of

_FLUSHED_ROWS = 20_000
_NO_MARKS = Marks()


class Gathered:
    """The pictures of a version that is being made, each content once; ``added_at`` is when they come into the dataset."""

    def __init__(self, added_at: datetime) -> None:
        self._added_at = added_at
        self._numbers: dict[bytes, int] = {}
        self._names: list[str] = []
        self._splits: list[str] = []
        self._states: list[str] = []
        #: What the annotations of a picture are recognised by; None: not annotated at all.
        self._drawn: list[int | None] = []
        self._stated: set[int] = set()
        self._images, self._boxes = _Columns(IMAGES), _Columns(ANNOTATIONS)

    def __len__(self) -> int:
        return len(self._names)

    def add(self, entry: Entry) -> str:
        """Take a picture in; the reason for the report when its content is there already under another name, else ''.

        The same content is one picture: its first split and its first annotations count.
        """
        key = bytes.fromhex(entry.asset.id)
        number = self._numbers.setdefault(key, len(self._names))
        if number < len(self._names):
            return self._join(number, entry)
        self._names.append(entry.name)
        self._splits.append(entry.split)
        self._states.append(entry.state)
        if entry.marks.state:
            self._stated.add(number)
        self._images.add(_image_row(entry, self._added_at))
        self._drawn.append(self._draw(number, entry.annotations))
        return ""

    def tables(self) -> Tables:
        """The tables of a version that holds what was added."""
        images = self._images.table()
        for name, words in (("split", self._splits), ("state", self._states)):
            images = replaced(images, name, pa.array(words, pa.string()).cast(WORD))
        return ordered(images, self._boxes.table())

    def _draw(self, number: int, annotations: Sequence[Annotation] | None) -> int | None:
        if annotations is None:
            return None
        rows = [_box_row(number, box) for box in annotations]
        self._boxes.add(*rows)
        return hash(tuple(row[1:] for row in rows))

    def _join(self, number: int, again: Entry) -> str:
        reason = f"is the same picture as {self._names[number]}"
        split = self._splits[number]
        if split and again.split and split != again.split:
            reason += f", which is in {split}; it was refused for {again.split}"
        self._splits[number] = split or again.split
        drawn = self._drawn[number]
        if drawn is None and again.annotations is not None:
            self._drawn[number] = self._draw(number, again.annotations)
            if number not in self._stated:
                self._states[number] = "labeled"
        elif again.annotations is not None and drawn != hash(tuple(_box_row(number, box)[1:] for box in again.annotations)):
            reason += "; its other annotations were left out"
        return reason


class _Columns:
    """Rows of Python values that become a table piece by piece."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[tuple[Any, ...]] = []
        self._pieces: list[pa.Table] = []

    def add(self, *rows: tuple[Any, ...]) -> None:
        self._rows += rows
        if len(self._rows) >= _FLUSHED_ROWS:
            self._flush()

    def table(self) -> pa.Table:
        self._flush()
        return concatenated(self._pieces)

    def _flush(self) -> None:
        self._pieces.append(table_of(self._rows, self._schema))
        self._rows = []


def _image_row(entry: Entry, added_at: datetime) -> tuple[Any, ...]:
    """Without split and state, which may change until the end."""
    asset, marks = entry.asset, entry.marks
    if marks is _NO_MARKS or marks == _NO_MARKS:
        more: tuple[Any, ...] = (False, None, "", None)
    else:
        more = (marks.hard, marks.hard_coefficient, reasons_text(marks.hard_reasons), _json(marks.tags))
    return (asset.id, asset.extension, asset.width, asset.height, asset.size_bytes, entry.name, "", "", *more, added_at)


def _box_row(number: int, box: Annotation) -> tuple[Any, ...]:
    return (
        number, box.class_name, float(box.x), float(box.y), float(box.width), float(box.height), box.shape,
        _json(list(box.points)) if box.points else None, box.crowd, box.difficult, float(box.quality), float(box.angle), box.score,
        _json(box.segmentation) if box.segmentation else None, _json(box.attributes) if box.attributes else None, box.annotated_by,
    )  # fmt: skip


def _json(value: Any) -> str | None:
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if value else None
