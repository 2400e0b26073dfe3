"""The tables of a dataset version, in memory and as Parquet: a million pictures filter, merge and split in column operations.

``images.parquet``, one row per asset, in the order of ``asset_id``::

    asset_id          string         lower-case hex sha1
    extension         dictionary     jpg, png, bmp
    width, height     int32          pixels, as stored
    size_bytes        int64
    name              string         file name in the source it was imported from
    split             dictionary     train, val, test, pool, ...; '' for none
    state             dictionary     unlabeled, to_be_confirmed, labeled
    hard              bool
    hard_coefficient  double         [0, 1]; null: nobody said
    hard_reasons      string         numbers joined by '-'; '' for none
    tags              string         JSON object of text by name; null for none
    added_at          timestamp[ms]  UTC; when the picture came into the dataset

``annotations.parquet``, one row per annotation, in the order of ``image``::

    image             int32          the row of its picture in images.parquet, from 0
    class_name        dictionary     stripped, lower-case
    x, y              double         pixels, top left corner
    width, height     double         pixels; x + width is the first column outside
    shape             dictionary     box, image (a label of the whole picture), point, line, dashed, polyline, circle
    points            string         JSON list of numbers, those of the shape; null for box and image
    crowd, difficult  bool
    quality           float          -1: unknown
    angle             float
    score             double         of one that a model proposed and nobody has confirmed; else null
    segmentation      string         JSON: polygons or a COCO run-length dict; null for none
    attributes        string         JSON object; null for none
    annotated_by      dictionary     human, a model, ...; '' unknown

Versions of schema 1, which had ``asset_id`` instead of ``image``, and ``annotated`` instead of ``state``, are read too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from contracts.errors import DatasetError

Mask = NDArray[np.bool_]
Rows = NDArray[np.int64]

ID_DIGITS = 40
#: What a person can do about files of a version, or predictions of a job, that are gone, cut or replaced.
CHANGED_FROM_OUTSIDE = "It was changed from outside. Put it back from a copy, or use another version or job."
WORD = pa.dictionary(pa.int32(), pa.string())
IMAGES = pa.schema(
    [
        ("asset_id", pa.string()),
        ("extension", WORD),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("size_bytes", pa.int64()),
        ("name", pa.string()),
        ("split", WORD),
        ("state", WORD),
        ("hard", pa.bool_()),
        ("hard_coefficient", pa.float64()),
        ("hard_reasons", pa.string()),
        ("tags", pa.string()),
        ("added_at", pa.timestamp("ms", "UTC")),
    ]
)
DRAWN = pa.schema(
    [
        ("class_name", WORD),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("width", pa.float64()),
        ("height", pa.float64()),
        ("shape", WORD),
        ("points", pa.string()),
        ("crowd", pa.bool_()),
        ("difficult", pa.bool_()),
        ("quality", pa.float32()),
        ("angle", pa.float32()),
        ("score", pa.float64()),
        ("segmentation", pa.string()),
        ("attributes", pa.string()),
        ("annotated_by", WORD),
    ]
)
ANNOTATIONS = pa.schema([pa.field("image", pa.int32()), *DRAWN])
_DEFAULTS: dict[str, Any] = {"shape": "box", "hard": False, "hard_reasons": "", "annotated_by": ""}
#: What a job, or a person who labels, could tell apart, the asset first; file names and times are not.
_CONTENT = [name for name in IMAGES.names if name not in ("name", "added_at")]


@dataclass(frozen=True)
class Tables:
    """One version's two tables, as above. Never changed: what selects or merges makes new ones."""

    images: pa.Table
    annotations: pa.Table

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def asset_ids(self) -> pa.Array:
        return self.images["asset_id"].combine_chunks()

    @cached_property
    def keys(self) -> NDArray[np.uint64]:
        """The first 64 bits of each asset id, ascending."""
        return id_keys(self.images["asset_id"])

    def rows_in(self, other: Tables) -> Rows:
        """The row of each picture in other tables, -1 where they do not have it."""
        found = _matches(self.keys, other.keys)
        if found is None or not _same_ids(self, other, found):
            return np.asarray(pc.fill_null(pc.index_in(self.asset_ids, value_set=other.asset_ids), -1), np.int64)
        return found

    def image_column(self, name: str) -> NDArray[Any]:
        """A column of the pictures as numpy; words as their texts."""
        return to_numpy(self.images[name])

    @cached_property
    def owners(self) -> NDArray[np.int32]:
        """The picture of each annotation."""
        return to_numpy(self.annotations["image"])

    def counts(self) -> NDArray[np.int64]:
        """Annotations of each picture."""
        return np.bincount(self.owners, minlength=len(self))

    def keep(self, mask: Mask) -> Tables:
        """The pictures of the mask with all their annotations."""
        if mask.all():
            return self
        owners = self.owners
        chosen = mask[owners]
        numbers = np.cumsum(mask, dtype=np.int32) - 1
        annotations = taken(self.annotations, np.flatnonzero(chosen))
        return Tables(taken(self.images, np.flatnonzero(mask)), replaced(annotations, "image", pa.array(numbers[owners[chosen]])))

    def keep_annotations(self, mask: Mask) -> Tables:
        """All pictures with the annotations of the mask."""
        return self if mask.all() else Tables(self.images, taken(self.annotations, np.flatnonzero(mask)))

    def with_image_column(self, name: str, values: Any) -> Tables:
        return Tables(replaced(self.images, name, _array(values, IMAGES.field(name).type)), self.annotations)


def taken(table: pa.Table, rows: Rows) -> pa.Table:
    """These rows of the table. Three times as fast as Arrow's own where columns are numbers and words, and most of them constant."""
    return pa.Table.from_arrays([_taken(column, rows) for column in table.columns], schema=table.schema)


def _taken(column: pa.ChunkedArray, rows: Rows) -> Any:
    kind = column.type
    if len(column) and column.null_count == len(column):
        return pa.nulls(len(rows), kind)
    if pa.types.is_dictionary(kind) and not column.null_count:
        codes, names = codes_of(column)
        return words(codes[rows], names)
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        if not column.null_count:
            return pa.array(to_numpy(column)[rows], kind)
    elif pa.types.is_boolean(kind) and not column.null_count:
        return pa.array(to_numpy(column)[rows])
    return column.take(pa.array(rows))


def _matches(mine: NDArray[np.uint64], others: NDArray[np.uint64]) -> Rows | None:
    """The place of each key in the others, -1 for none; both ascend. None where a key is there twice, so that it does not say which."""
    if (mine[1:] == mine[:-1]).any() or (others[1:] == others[:-1]).any():
        return None
    places = np.searchsorted(others, mine)
    inside = np.minimum(places, max(len(others) - 1, 0))
    return np.where(others[inside] == mine, inside, -1) if len(others) else np.full(len(mine), -1, np.int64)


def _same_ids(tables: Tables, other: Tables, found: Rows) -> bool:
    """Whether ids whose first halves match are the same: others are not found by accident, but could be made."""
    rows = np.flatnonzero(found >= 0)
    mine, theirs = tables.asset_ids.take(pa.array(rows)), other.asset_ids.take(pa.array(found[rows]))
    return bool(pc.all(pc.equal(mine, theirs), min_count=0).as_py())


def to_numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    """Numbers as they are, words and texts as objects; null is NaN or None."""
    if pa.types.is_dictionary(column.type):
        codes, words = codes_of(column)
        return np.array([*words, None], dtype=object)[codes]
    return np.asarray(column.to_numpy())


def codes_of(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    """A column of words as numbers into a list of the words, -1 for null."""
    whole = column.unify_dictionaries().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks else pa.array([], column.type)
    return np.asarray(whole.indices.fill_null(-1)), whole.dictionary.to_pylist()


def words(codes: NDArray[Any], names: Sequence[str]) -> pa.Array:
    """The other way round."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(list(names), pa.string()))


def replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


def table_of(rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """A table of Python rows in the order of the schema."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.Table.from_arrays([_array(values, kind.type) for values, kind in zip(columns, schema, strict=True)], schema=schema)


def _array(values: Any, kind: pa.DataType) -> Any:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    return pa.array(values, pa.string()).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(values, kind)


# ---------------------------------------------------------------------------------------------------------------- in order


def ordered(images: pa.Table, annotations: pa.Table) -> Tables:
    """Tables in the order of their files, of rows in any order. The annotations of a picture keep their order among each other."""
    order = id_order(images["asset_id"])
    if not _is_sorted(order):
        numbers = np.empty(len(order), np.int32)
        numbers[order] = np.arange(len(order), dtype=np.int32)
        images = taken(images, order)
        annotations = replaced(annotations, "image", pa.array(numbers[to_numpy(annotations["image"])]))
    rows = np.argsort(to_numpy(annotations["image"]), kind="stable")
    return Tables(images, annotations if _is_sorted(rows) else taken(annotations, rows))


def id_order(asset_ids: pa.ChunkedArray) -> Rows:
    """The rows in the order of the ids, equal ones as they come. Compared as numbers, since a sort of texts takes seconds for a million."""
    keys = id_keys(asset_ids)
    order: Rows = np.argsort(keys, kind="stable")
    in_order = keys[order]
    alike = np.flatnonzero(in_order[1:] == in_order[:-1])
    one, other = (asset_ids.take(pa.array(order[alike + step])) for step in (0, 1))
    if pc.all(pc.equal(one, other), min_count=0).as_py():
        return order
    return np.asarray(pc.sort_indices(asset_ids))  # not the same, but alike in their first half: by accident or on purpose


def id_keys(asset_ids: pa.ChunkedArray) -> NDArray[np.uint64]:
    """The first 64 bits of each id: their order is the ids' order, but for ids that are alike so far."""
    digits = [_digits(chunk) for chunk in asset_ids.chunks if len(chunk)]
    values = np.concatenate(digits) if digits else np.empty((0, 16), np.uint8)
    pairs = (values[:, 0::2] << 4) | values[:, 1::2]
    return np.ascontiguousarray(pairs).view(">u8").ravel().astype(np.uint64)


def _digits(ids: pa.Array) -> NDArray[np.uint8]:
    """The first 16 hex digits of each id as numbers, (ids, 16)."""
    _, offsets, data = ids.buffers()
    ends = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    if not (np.diff(ends) == ID_DIGITS).all():
        raise DatasetError("an asset id does not have 40 digits", hint=CHANGED_FROM_OUTSIDE)
    text = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]].reshape(-1, ID_DIGITS)[:, :16]
    return np.where(text >= ord("a"), text - (ord("a") - 10), text - ord("0")).astype(np.uint8)


def _is_sorted(order: Rows) -> bool:
    return bool((order[1:] > order[:-1]).all())


def concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).unify_dictionaries()


# ------------------------------------------------------------------------------------------------------------------- files


def write_tables(folder: Path, tables: Tables, same_annotations: Path | None = None) -> None:
    """``images.parquet`` and ``annotations.parquet``, synced to disk.

    ``same_annotations`` is the file of a version with the same annotations: versions never change, so that one file may be in several.
    """
    file = folder / "annotations.parquet"
    with ThreadPoolExecutor(1) as beside:
        writing = None if _linked(same_annotations, file) else beside.submit(write_table, file, tables.annotations)
        write_table(folder / "images.parquet", tables.images)
        if writing:
            writing.result()


def _linked(source: Path | None, target: Path) -> bool:
    try:
        if source is not None:
            os.link(source, target)
    except OSError:
        return False  # the disk knows no links
    return source is not None


def write_table(file: Path, table: pa.Table) -> None:
    """Synced to disk. Only words are encoded as such: numbers and texts that hardly repeat would only cost time."""
    encoded = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
    pq.write_table(table, file, compression="lz4", use_dictionary=encoded or False)
    with file.open("rb") as written:
        os.fsync(written.fileno())


def read_tables(folder: Path) -> Tables:
    """The tables of a version. Raises ``DatasetError`` when one is missing or broken."""
    images, annotations = read_table(folder / "images.parquet"), read_table(folder / "annotations.parquet")
    try:
        return Tables(_completed(_since_schema_1(images), IMAGES), _completed(_numbered(annotations, images), ANNOTATIONS))
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise _broken(folder, f"does not hold the tables of a version: {error}") from error


def read_image_columns(folder: Path, names: Sequence[str]) -> pa.Table:
    """Some columns of the pictures, for which the rest of a version need not be read. Raises ``DatasetError`` as ``read_tables`` does."""
    images = read_table(folder / "images.parquet", list(names))
    try:
        return _completed(images, pa.schema([IMAGES.field(name) for name in names]))
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise _broken(folder, f"does not hold the tables of a version: {error}") from error


def read_table(file: Path, columns: list[str] | None = None) -> pa.Table:
    """Raises ``DatasetError`` when the file is missing or broken."""
    try:
        return pq.read_table(file, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise _broken(file, "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}") from error


def column_names(file: Path) -> list[str]:
    """Raises ``DatasetError`` when the file is missing or broken."""
    try:
        return list(pq.read_schema(file).names)
    except (OSError, pa.ArrowException) as error:
        raise _broken(file, "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}") from error


def _broken(path: Path, reason: str) -> DatasetError:
    return DatasetError(f"{path} {reason}", hint=CHANGED_FROM_OUTSIDE, path=str(path))


def _since_schema_1(images: pa.Table) -> pa.Table:
    if "state" in images.column_names:
        return images
    states = pc.if_else(images["annotated"], "labeled", "unlabeled")
    return images.drop_columns(["annotated"]).append_column("state", states)


def _numbered(annotations: pa.Table, images: pa.Table) -> pa.Table:
    if "image" in annotations.column_names:
        return annotations
    rows = pc.index_in(annotations["asset_id"], value_set=images["asset_id"].combine_chunks())
    return annotations.drop_columns(["asset_id"]).append_column("image", rows)


def _completed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Columns in the order of the schema; those that an older version did not have get their default."""
    columns = []
    for field in schema:
        if field.name in table.column_names:
            column = table[field.name]
            columns.append(column if column.type == field.type else _converted(column, field.type))
        else:
            columns.append(_constant(_DEFAULTS.get(field.name), field.type, len(table)))
    return pa.Table.from_arrays(columns, schema=schema)


def _converted(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column.dictionary_encode() if pa.types.is_dictionary(kind) else column.cast(kind)


def _constant(value: Any, kind: pa.DataType, length: int) -> pa.Array:
    if value is None:
        return pa.nulls(length, kind)
    if pa.types.is_dictionary(kind):
        return words(np.zeros(length, np.int32), [value])
    return pa.array(np.full(length, value)) if isinstance(value, bool) else pa.repeat(value, length)


# ----------------------------------------------------------------------------------------------------------------- content


def content_hash(tables: Tables, class_names: Sequence[str], annotations_hash: str | None = None) -> str:
    """sha256 of what a job or a labeller could tell apart: pictures, splits, states, marks, annotations, the order of the classes.

    File names and times are left out. The same whatever the order in which the pictures came and however Arrow has divided them.
    ``annotations_hash``: that of the annotations, where it is known.
    """
    parts = [list(class_names), _table_hash(tables.images, _CONTENT), annotations_hash or hash_annotations(tables.annotations)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def hash_annotations(annotations: pa.Table) -> str:
    return _table_hash(annotations, ANNOTATIONS.names)


def _table_hash(table: pa.Table, names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}:{len(table)};".encode())
        _hash_column(digest, table[name])
    return digest.hexdigest()


def _hash_column(digest: Any, column: pa.ChunkedArray) -> None:
    if pa.types.is_dictionary(column.type):
        codes, names = codes_of(column)
        used = np.bincount(codes[codes >= 0], minlength=len(names)) > 0  # a filter leaves words that no row has any more
        order = sorted({name for name, is_used in zip(names, used, strict=True) if is_used})
        digest.update(json.dumps(order).encode())
        ranks = {name: rank for rank, name in enumerate(order)}
        places = np.array([*(ranks.get(name, -1) for name in names), -1], np.int32)
        digest.update(np.ascontiguousarray(places[codes]))
    elif pa.types.is_string(column.type):
        _hash_texts(digest, column)
    else:
        digest.update(np.ascontiguousarray(to_numpy(column)))


def _hash_texts(digest: Any, column: pa.ChunkedArray) -> None:
    """Lengths first, so that texts cannot run into each other; a null has the length -1."""
    lengths = pc.fill_null(pc.binary_length(column), -1)
    digest.update(np.ascontiguousarray(to_numpy(lengths)))
    for chunk in column.chunks:
        texts = chunk.drop_null()
        if len(texts):
            _, offsets, data = texts.buffers()
            ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
            digest.update(memoryview(data)[ends[0] : ends[-1]])


def image_digests(tables: Tables) -> NDArray[np.uint64]:
    """64 bits for each picture that differ, but for one accident in 2**64, where anything but its content, name and times differs."""
    drawn = row_digests(tables.annotations, DRAWN.names)
    ends = np.cumsum(tables.counts())
    starts = np.concatenate([[0], ends])[: len(ends)]
    place = np.arange(len(drawn)) - starts[tables.owners]
    # Of one type: else they are floats.
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed(drawn + place.astype(np.uint64)))])
    return mixed(row_digests(tables.images, _CONTENT[1:]) + sums[ends] - sums[starts])


def row_digests(table: pa.Table, names: Sequence[str] = DRAWN.names) -> NDArray[np.uint64]:
    digest = np.zeros(len(table), np.uint64)
    for name in names:
        digest = mixed(digest + _bits(table[name]))
    return digest


def _bits(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """64 bits for each value: numbers as they are, texts hashed, each different one once."""
    if pa.types.is_string(column.type):
        column = column.dictionary_encode()
    if pa.types.is_dictionary(column.type):
        codes, names = codes_of(column)
        hashes = [int.from_bytes(hashlib.sha1(name.encode(), usedforsecurity=False).digest()[:8], "big") for name in names]
        return np.array([*hashes, 0], np.uint64)[codes]
    values = to_numpy(column)
    return (values.astype(np.float64) if values.dtype.kind in "fO" else values.astype(np.int64)).view(np.uint64)


def mixed(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Spreads each bit over all of them (the finisher of MurmurHash3)."""
    mixed = values.astype(np.uint64)
    for shift, factor in ((33, 0xFF51AFD7ED558CCD), (33, 0xC4CEB9FE1A85EC53)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(33)))
