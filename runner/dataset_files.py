"""What a dataset version holds as objects: entries on their way in, samples on their way to a job. The tables are ``runner.tables``.

Predictions lie in files of their own, with the columns of ``annotations.parquet``, ``asset_id`` instead of ``image``, and a ``score`` each; a
row whose ``class_name`` is null says that the asset was looked at and nothing was found. Beside the tables of a version ``manifest.json``
names the version, its classes in order and its content hash; ``report.json`` is what its import or operation reported.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from contracts.dataset import Annotation, Asset, Marks, Sample
from contracts.errors import DatasetError
from contracts.seams import Store
from runner.tables import ANNOTATIONS, DRAWN, IMAGES, Tables, ordered, read_table, read_tables, table_of, write_table

PREDICTIONS = pa.schema([pa.field("asset_id", pa.string()), *DRAWN])


@dataclass(slots=True)
class Entry:
    """One asset of a version that is being made. ``annotations`` None: not annotated at all."""

    asset: Asset
    name: str
    split: str
    annotations: Sequence[Annotation] | None
    marks: Marks = Marks()
    predictions: Sequence[Annotation] | None = None

    @property
    def state(self) -> str:
        return self.marks.state or ("unlabeled" if self.annotations is None else "labeled")


def tables_of(entries: Iterable[Entry], added_at: datetime) -> Tables:
    """The tables of a version that holds these entries, in any order."""
    kept = list(entries)
    images = table_of((_image_row(entry, added_at) for entry in kept), IMAGES)
    boxes = ((number, *_drawn_row(box)) for number, entry in enumerate(kept) for box in entry.annotations or ())
    return ordered(images, table_of(boxes, ANNOTATIONS))


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """A document, synced to disk."""
    with file.open("wb") as opened:
        opened.write(json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace"))
        opened.flush()
        os.fsync(opened.fileno())


def read_samples(folder: Path, store: Store, split: str | None = None, *, annotated_only: bool = False) -> list[Sample]:
    """The samples of a version in the order of asset ids; ``split`` None means all of them, '' those in no split.

    ``annotated_only`` leaves out pictures that nobody has labelled, also those whose labels wait to be confirmed. Raises ``DatasetError`` when
    a table is broken or an asset is missing.
    """
    return samples_of(selected(read_tables(folder), split, annotated_only=annotated_only), store)


def selected(tables: Tables, split: str | None, *, annotated_only: bool = False) -> Tables:
    mask = np.ones(len(tables), bool)
    if split is not None:
        mask &= np.asarray(pc.equal(tables.images["split"].cast(pa.string()), split))
    if annotated_only:
        mask &= np.asarray(pc.equal(tables.images["state"].cast(pa.string()), "labeled"))
    return tables.keep(mask)


def samples_of(tables: Tables, store: Store, folder: Path | None = None) -> list[Sample]:
    """Raises ``DatasetError`` for an asset that is not in the store, unless its folder is given: then nobody looks."""
    columns = {name: tables.images[name].to_pylist() for name in IMAGES.names if name != "added_at"}
    assets = map(Asset, *(columns[name] for name in ("asset_id", "extension", "width", "height", "size_bytes")))
    ends = np.cumsum(tables.counts()).tolist()
    annotations = _annotations(tables.annotations)
    return [
        Sample(
            asset,
            folder / asset.relative_path if folder else _stored(store, asset, name),
            tuple(annotations[start:end]),
            name,
            split,
            marks,
        )
        for asset, name, start, end, split, marks in zip(
            assets, columns["name"], [0, *ends], ends, columns["split"], _marks(columns), strict=False
        )
    ]


def write_predictions(path: Path, predictions: Mapping[str, Sequence[Annotation]]) -> None:
    """Predictions by asset id into one Parquet file, synced to disk; its folder is made. Empty ones are kept as such."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, table_of(_prediction_rows(predictions), PREDICTIONS))


def read_predictions(path: Path) -> dict[str, tuple[Annotation, ...]]:
    """What ``write_predictions`` was given. Raises ``DatasetError`` when the file is missing or broken."""
    table = read_table(path)
    looked_at = dict.fromkeys(table["asset_id"].to_pylist())
    table = table.filter(pc.is_valid(table["class_name"]))
    found: dict[str, list[Annotation]] = defaultdict(list)
    for asset_id, annotation in zip(table["asset_id"].to_pylist(), _annotations(table), strict=True):
        found[asset_id].append(annotation)
    return {asset_id: tuple(found.get(asset_id, ())) for asset_id in looked_at}


def read_looked_at(path: Path) -> pa.Array:
    """The ids of the assets that a file of predictions is about. Raises ``DatasetError``."""
    return pc.unique(read_table(path, ["asset_id"])["asset_id"])


def read_words(path: Path, column: str) -> list[str]:
    """The different words that a text column of a file of predictions has; none for one that is not there. Raises ``DatasetError``."""
    table = read_table(path)
    return [word for word in pc.unique(table[column]).to_pylist() if word] if column in table.column_names else []


_PICTURES_AT_ONCE = 4096


def read_predictions_of(path: Path, ids: pa.Array, file_names: Sequence[str]) -> Iterator[tuple[str, tuple[Annotation, ...]]]:
    """File name and predictions of each of the assets that the file is about, in the order of the ids; a few thousand at a time are objects.

    Raises ``DatasetError`` when the file is missing or broken.
    """
    table = read_table(path)
    places = np.asarray(pc.fill_null(pc.index_in(table["asset_id"], value_set=ids), -1))
    order = np.argsort(places, kind="stable")
    order = order[places[order] >= 0]
    places, table = places[order], table.take(pa.array(order))
    about, starts = np.unique(places, return_index=True)
    ends = [*starts[1:].tolist(), len(places)]
    for begin in range(0, len(about), _PICTURES_AT_ONCE):
        last = min(begin + _PICTURES_AT_ONCE, len(about))
        part = slice(int(starts[begin]), int(ends[last - 1]))
        yield from _predictions_by_place(table.slice(part.start, part.stop - part.start), places[part], about[begin:last], file_names)


def _predictions_by_place(
    table: pa.Table, places: NDArray[Any], about: NDArray[Any], file_names: Sequence[str]
) -> Iterator[tuple[str, tuple[Annotation, ...]]]:
    drawn = np.asarray(pc.is_valid(table["class_name"]))
    found: dict[int, list[Annotation]] = defaultdict(list)
    for place, annotation in zip(places[drawn].tolist(), _annotations(table.filter(pa.array(drawn))), strict=True):
        found[place].append(annotation)
    yield from ((file_names[place], tuple(found.get(place, ()))) for place in about.tolist())


# ------------------------------------------------------------------------------------------------------------------ rows


def _image_row(entry: Entry, added_at: datetime) -> tuple[Any, ...]:
    asset, marks = entry.asset, entry.marks
    return (
        asset.id, asset.extension, asset.width, asset.height, asset.size_bytes, entry.name, entry.split, entry.state, marks.hard,
        marks.hard_coefficient, reasons_text(marks.hard_reasons), _json(marks.tags), added_at,
    )  # fmt: skip


def reasons_text(reasons: Iterable[int]) -> str:
    return "-".join(map(str, reasons))


def _drawn_row(box: Annotation) -> tuple[Any, ...]:
    return (
        box.class_name, float(box.x), float(box.y), float(box.width), float(box.height), box.shape, _json(list(box.points)), box.crowd,
        box.difficult, float(box.quality), float(box.angle), box.score, _json(box.segmentation), _json(box.attributes), box.annotated_by,
    )  # fmt: skip


def _json(value: Any) -> str | None:
    """None for what is empty."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if value else None


def _prediction_rows(predictions: Mapping[str, Sequence[Annotation]]) -> Iterator[tuple[Any, ...]]:
    for asset_id, boxes in predictions.items():
        for box in boxes:
            yield (asset_id, *_drawn_row(box))
        if not boxes:
            yield (asset_id, *repeat(None, len(DRAWN)))


# --------------------------------------------------------------------------------------------------------------- objects


def _annotations(table: pa.Table) -> list[Annotation]:
    """One for each row, also of tables that an older version wrote."""
    given = set(table.column_names)
    columns = {name: table[name].to_pylist() for name in DRAWN.names if name in given}
    for name in ("segmentation", "points", "attributes"):
        if name in given:
            columns[name] = _parsed(table[name], {"points": (), "attributes": {}}.get(name), tuple if name == "points" else None)
    names = list(columns)
    return [Annotation(**dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _parsed(column: pa.ChunkedArray, empty: Any, made: Any = None) -> list[Any]:
    """Texts of JSON as values, null as ``empty``."""
    if column.null_count == len(column):
        return [empty] * len(column)
    values = (None if text is None else json.loads(text) for text in column.to_pylist())
    return [empty if value is None else made(value) if made else value for value in values]


def _marks(columns: Mapping[str, list[Any]]) -> Iterator[Marks]:
    """One for each picture; the many that say nothing but their state are one object."""
    plain = {state: Marks(state) for state in set(columns["state"])}
    names = ("state", "hard", "hard_coefficient", "hard_reasons", "tags")
    for state, hard, coefficient, reasons, tags in zip(*(columns[name] for name in names), strict=True):
        if not hard and coefficient is None and not reasons and not tags:
            yield plain[state]
        else:
            numbers = tuple(int(number) for number in reasons.split("-") if number)
            yield Marks(state, hard, coefficient, numbers, json.loads(tags) if tags else {})


def _stored(store: Store, asset: Asset, name: str) -> Path:
    path = store.path(asset.id, asset.extension)
    if path is None:
        hint = "Import its dataset again: what is missing in the store is added."
        raise DatasetError(f"the asset {asset.file_name} ({name}) is not in the store", hint=hint, asset=asset.id)
    return path
