"""The files of a dataset version and of predictions: Parquet, so that a million boxes load in column operations and other tools can read them.

``images.parquet``, one row per asset, in the order of ``asset_id``::

    asset_id    string           lower-case hex sha1
    extension   dictionary       jpg, png, bmp
    width       int32            pixels, as stored
    height      int32
    size_bytes  int64
    name        string           file name in the source it was imported from
    split       dictionary       train, val, test, pool, ...; '' for none
    annotated   bool             false: nobody looked; true without boxes: nothing is in the picture

``annotations.parquet``, one row per box, in the order of ``asset_id``::

    asset_id      string
    class_name    dictionary     stripped, lower-case
    x, y          double         pixels, top left corner
    width, height double         pixels; x + width is the first column outside
    crowd         bool
    difficult     bool
    quality       float          -1: unknown
    angle         float
    segmentation  string         JSON: polygons or a COCO run-length dict; null for none

Predictions have the columns of ``annotations.parquet`` and ``score`` (double); a row whose ``class_name`` is null says that the asset was looked at
and nothing was found. Beside the tables, ``manifest.json`` names the version, its classes in order and its content hash; ``report.json``
is what the import reported.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.dataset import Annotation, Asset, Sample
from contracts.errors import DatasetError
from contracts.seams import Store

_WORD = pa.dictionary(pa.int32(), pa.string())
IMAGES = pa.schema(
    [
        ("asset_id", pa.string()),
        ("extension", _WORD),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("size_bytes", pa.int64()),
        ("name", pa.string()),
        ("split", _WORD),
        ("annotated", pa.bool_()),
    ]
)
ANNOTATIONS = pa.schema(
    [
        ("asset_id", pa.string()),
        ("class_name", _WORD),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("width", pa.float64()),
        ("height", pa.float64()),
        ("crowd", pa.bool_()),
        ("difficult", pa.bool_()),
        ("quality", pa.float32()),
        ("angle", pa.float32()),
        ("segmentation", pa.string()),
    ]
)
PREDICTIONS = ANNOTATIONS.append(pa.field("score", pa.float64()))


@dataclass(slots=True)
class Entry:
    """One asset of a version that is being made. ``annotations`` None: not annotated at all."""

    asset: Asset
    name: str
    split: str
    annotations: Sequence[Annotation] | None


def content_hash(entries: Iterable[Entry], class_names: Sequence[str]) -> str:
    """sha256 of what a job could tell apart: pictures, splits, boxes and the order of the classes, but no file names."""
    digest = hashlib.sha256(json.dumps(list(class_names)).encode())
    for entry in sorted(entries, key=lambda e: e.asset.id):
        boxes = None if entry.annotations is None else sorted(repr(_row(entry.asset.id, box)) for box in entry.annotations)
        digest.update(repr((entry.asset.id, entry.split, boxes)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def write_tables(folder: Path, entries: Iterable[Entry]) -> None:
    """``images.parquet`` and ``annotations.parquet``, synced to disk."""
    ordered = sorted(entries, key=lambda e: e.asset.id)
    images = [
        (e.asset.id, e.asset.extension, e.asset.width, e.asset.height, e.asset.size_bytes, e.name, e.split, e.annotations is not None)
        for e in ordered
    ]
    boxes = (_row(e.asset.id, box) for e in ordered for box in e.annotations or ())
    _write(folder / "images.parquet", images, IMAGES)
    _write(folder / "annotations.parquet", boxes, ANNOTATIONS)


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """A document, synced to disk."""
    with file.open("wb") as opened:
        opened.write(json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace"))
        opened.flush()
        os.fsync(opened.fileno())


def read_samples(folder: Path, store: Store, split: str | None = None, *, annotated_only: bool = False) -> list[Sample]:
    """The samples of a version in the order of asset ids; ``split`` None means all of them, '' those in no split.

    ``annotated_only`` leaves out pictures nobody has annotated. Raises ``DatasetError`` when a table is broken or an asset is missing.
    """
    images = _read(folder / "images.parquet")
    if split is not None:
        images = images.filter(pc.equal(images["split"].cast(pa.string()), split))
    if annotated_only:
        images = images.filter(images["annotated"])
    boxes = _read(folder / "annotations.parquet")
    if split is not None or annotated_only:
        boxes = boxes.filter(pc.is_in(boxes["asset_id"], value_set=images["asset_id"].combine_chunks()))
    by_asset = _grouped(boxes)
    assets = map(Asset, *(images[column].to_pylist() for column in ("asset_id", "extension", "width", "height", "size_bytes")))
    return [
        Sample(asset, _stored(store, asset, name), tuple(by_asset.get(asset.id, ())), name)
        for asset, name in zip(assets, images["name"].to_pylist(), strict=True)
    ]


def write_predictions(path: Path, predictions: Mapping[str, Sequence[Annotation]]) -> None:
    """Predictions by asset id into one Parquet file, synced to disk; its folder is made. Empty ones are kept as such."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, _prediction_rows(predictions), PREDICTIONS)


def read_predictions(path: Path) -> dict[str, tuple[Annotation, ...]]:
    """What ``write_predictions`` was given. Raises ``DatasetError`` when the file is missing or broken."""
    table = _read(path)
    looked_at = dict.fromkeys(table["asset_id"].to_pylist())
    found = _grouped(table.filter(pc.is_valid(table["class_name"])))
    return {asset_id: tuple(found.get(asset_id, ())) for asset_id in looked_at}


# ------------------------------------------------------------------------------------------------------------------ rows


def _row(asset_id: str, box: Annotation) -> tuple[Any, ...]:
    shape = None if box.segmentation is None else json.dumps(box.segmentation, sort_keys=True)
    return (
        asset_id, box.class_name, float(box.x), float(box.y), float(box.width), float(box.height),
        box.crowd, box.difficult, float(box.quality), float(box.angle), shape,
    )  # fmt: skip


def _prediction_rows(predictions: Mapping[str, Sequence[Annotation]]) -> Iterator[tuple[Any, ...]]:
    for asset_id, boxes in predictions.items():
        for box in boxes:
            yield (*_row(asset_id, box), box.score)
        if not boxes:
            yield (asset_id, *repeat(None, len(PREDICTIONS) - 1))


def _write(file: Path, rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [_column(values, kind.type) for values, kind in zip(columns, schema, strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), file, compression="zstd")
    with file.open("rb") as written:
        os.fsync(written.fileno())


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(values, pa.string()).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(values, kind)


# --------------------------------------------------------------------------------------------------------------- reading


def _read(file: Path) -> pa.Table:
    try:
        return pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        reason = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise DatasetError(f"{file} {reason}", hint="The files of a version must not be changed from outside.", path=str(file)) from error


def _grouped(table: pa.Table) -> dict[str, list[Annotation]]:
    """The boxes by asset id, in the order of the table."""
    shapes = table["segmentation"]
    columns: list[Iterable[Any]] = [table[name].to_pylist() for name in ("class_name", "x", "y", "width", "height")]
    columns.append(table["score"].to_pylist() if "score" in table.column_names else repeat(None))
    columns.append(repeat(None) if shapes.null_count == len(shapes) else [text and json.loads(text) for text in shapes.to_pylist()])
    columns += [table[name].to_pylist() for name in ("crowd", "difficult", "quality", "angle")]
    grouped: dict[str, list[Annotation]] = defaultdict(list)
    for asset_id, annotation in zip(table["asset_id"].to_pylist(), map(Annotation, *columns), strict=True):
        grouped[asset_id].append(annotation)
    return grouped


def _stored(store: Store, asset: Asset, name: str) -> Path:
    path = store.path(asset.id, asset.extension)
    if path is None:
        hint = "Import its dataset again: what is missing in the store is added."
        raise DatasetError(f"the asset {asset.file_name} ({name}) is not in the store", hint=hint, asset=asset.id)
    return path
