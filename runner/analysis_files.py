"""What was measured of pictures, kept by content so that each is decoded once in the life of a home: ``<home>/analysis/pictures/*.parquet``.

A row is one picture with one set of boxes: its id, size, the 14 features (of a box feature the mean over its boxes), the six box features of
each box, its 64-bit hash and its thumbnail of 8 x 8 pixels; a picture that was only compared has its hash alone. ``key`` is the asset id and a
digest of the boxes, so that another version measures only what was drawn anew. What is measured becomes a file of its own, which is never changed;
many small ones are made one. A file of another extractor, or one that cannot be read, counts as not there. Pictures that could not be read are
not kept: the next analysis tries them again.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import secrets
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.features import BOX_KEYS, CLASSIFICATION_KEYS, KEYS, Measured, measure_files
from analysis.near_duplicates import hash_pictures
from analysis.pictures import PictureError
from contracts.dataset import Annotation, Asset, Sample
from contracts.errors import DatasetError, UnavailableError
from contracts.seams import Store
from runner.locks import try_lock

log = logging.getLogger(__name__)
Count = Callable[[int, "int | None"], None]

#: Changes when a formula does: what was measured before is then measured anew.
EXTRACTOR = "1"
#: What is measured is written after so many pictures, so that a killed analysis goes on where it was; larger files are never rewritten.
_PART = 50_000
#: More small files than that are made one.
_MOST_SMALL_FILES = 16
#: So many pictures are asked of the store at a time, since a store that is elsewhere has a small cache.
_HELD = 1000
_MARK = {b"sluice.extractor": EXTRACTOR.encode()}
_FLOATS = [(key, pa.float64()) for key in KEYS]
PICTURES = pa.schema(
    [
        ("asset_id", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        *_FLOATS,
        ("hash", pa.uint64()),
        ("thumbnail", pa.binary(192)),
    ]
)
BOXES = pa.schema(
    [
        ("asset_id", pa.string()),
        ("class_name", pa.dictionary(pa.int32(), pa.string())),
        *((name, pa.float64()) for name in ("x", "y", "width", "height")),
        *((key, pa.float64()) for key in BOX_KEYS),
    ]
)
#: ``box_values``: the box features of the first box, then those of the second, and so on.
KEPT = pa.schema([pa.field("key", pa.string()), *PICTURES, pa.field("box_values", pa.list_(pa.float64()))])
_HASHES = ["asset_id", "hash"]
_LOOKS = ["asset_id", *CLASSIFICATION_KEYS, "thumbnail"]


def _quiet(*_: object) -> None:
    """Progress nobody wants."""


@dataclass(frozen=True)
class Features:
    """The measured pictures of a version or split, in the order they were asked for, and why the others could not be read, by asset id."""

    pictures: pa.Table
    boxes: pa.Table
    failures: dict[str, str]

    def column(self, key: str) -> npt.NDArray[np.float64]:
        """The values of a feature: per box of a box feature, else per picture."""
        table = self.boxes if key in BOX_KEYS else self.pictures
        return np.asarray(table[key].to_numpy(), np.float64)


@dataclass(frozen=True)
class Looks:
    """How n pictures look. ``known``: (n,) True where a picture could be read; the others are left out of ``thumbnails`` (m, 192) uint8 and
    ``features``, (m,) each by key. ``failures``: why, by asset id."""

    known: npt.NDArray[np.bool_]
    thumbnails: npt.NDArray[np.uint8]
    features: Mapping[str, npt.NDArray[np.float64]]
    failures: Mapping[str, str]


def has_box(annotation: Annotation) -> bool:
    """Whether an annotation counts as a box in the box features: no label of the whole picture and no point."""
    sides = np.array([annotation.x, annotation.y, annotation.width, annotation.height])
    return annotation.shape not in ("image", "point") and bool(np.isfinite(sides).all() and (sides[2:] >= 0).all())


class AnalysisFiles:
    """The kept measurements of a home. Several processes may measure at once: the same picture twice at worst, each file whole."""

    def __init__(self, home: Path, store: Store) -> None:
        self.folder = home / "analysis" / "pictures"
        self._store = store

    def features(self, samples: Sequence[Sample], on_progress: Count = _quiet) -> Features:
        """All 14 features of the samples, each another picture; what is not kept yet is measured and kept."""
        drawn = [[a for a in sample.annotations if has_box(a)] for sample in samples]
        items = [(sample.asset, _boxes(of)) for sample, of in zip(samples, drawn, strict=True)]
        kept, failures = self._all_measured(items, "key", [_key(*item) for item in items], KEPT.names, on_progress)
        places = pc.index_in(pa.array([sample.asset.id for sample in samples], pa.string()), value_set=kept["asset_id"].combine_chunks())
        known = np.asarray(pc.is_valid(places))
        rows = kept.take(places.drop_null())
        readable = [(sample.asset.id, a) for sample, of, there in zip(samples, drawn, known, strict=True) if there for a in of]
        return Features(rows.select(PICTURES.names), _boxes_table(readable, rows["box_values"]), failures)

    def looks(self, assets: Sequence[Asset], on_progress: Count = _quiet) -> Looks:
        """Thumbnails and the features of whole pictures, whatever is drawn on them."""
        kept, failures = self._all_measured(
            [(asset, []) for asset in assets], "asset_id", [asset.id for asset in assets], _LOOKS, on_progress
        )
        places = pc.index_in(pa.array([asset.id for asset in assets], pa.string()), value_set=kept["asset_id"].combine_chunks())
        rows = kept.take(places.drop_null())
        thumbnails = np.frombuffer(b"".join(rows["thumbnail"].to_pylist()), np.uint8).reshape(-1, 192)
        features = {key: np.asarray(rows[key].to_numpy(), np.float64) for key in CLASSIFICATION_KEYS}
        return Looks(np.asarray(pc.is_valid(places)), thumbnails, features, failures)

    def hashes(self, assets: Sequence[Asset], on_progress: Count = _quiet) -> tuple[npt.NDArray[np.uint64], dict[str, str]]:
        """The hash of each picture, in their order, and why some could not be decoded, by asset id (those are like none)."""
        ids = pa.array([asset.id for asset in assets], pa.string())
        kept = self._kept("asset_id", ids, _HASHES)
        failures: dict[str, str] = {}
        missing = _missing(ids, kept["asset_id"])
        found = np.zeros(len(missing), np.uint64)
        for start in range(0, len(missing), _HELD):
            on_progress(len(assets) - len(missing) + start, len(assets))
            part = [assets[at] for at in missing[start : start + _HELD]]
            told: list[tuple[int, str]] = []
            with self._store.holding(part):
                found[start : start + len(part)] = hash_pictures([self._path(asset) for asset in part], on_failure=_noting(told))
            failures.update({part[at].id: reason for at, reason in told})
            for at, _ in told:
                found[start + at] = hash_of_id(part[at].id)
            self._add_hashes(part, found[start : start + len(part)], {at for at, _ in told})
        if len(missing):
            on_progress(len(assets), len(assets))
        all_hashes = np.zeros(len(assets), np.uint64)
        places = pc.index_in(ids, value_set=kept["asset_id"].combine_chunks())
        all_hashes[np.asarray(pc.is_valid(places))] = np.asarray(kept["hash"].take(places.drop_null()), np.uint64)
        all_hashes[missing] = found
        return all_hashes, failures

    # ------------------------------------------------------------------------------------------------------ measuring

    def _all_measured(
        self, items: Sequence[tuple[Asset, list[tuple[float, ...]]]], by: str, keys: Sequence[str], columns: list[str], on_progress: Count
    ) -> tuple[pa.Table, dict[str, str]]:
        """The rows of the items, in no order; those that are not kept are measured first."""
        wanted = pa.array(keys, pa.string())
        kept = self._kept(by, wanted, columns)
        failures: dict[str, str] = {}
        missing = _missing(wanted, kept[by])
        for start in range(0, len(missing), _PART):
            first, part = len(items) - len(missing) + start, missing[start : start + _PART]
            new = self._measured([items[at] for at in part], failures, _counting(on_progress, first, len(items)))
            self._add(new)
            kept = pa.concat_tables([kept, new.select(columns)])
        return kept, failures

    def _measured(
        self, items: Sequence[tuple[Asset, list[tuple[float, ...]]]], failures: dict[str, str], on_count: Callable[[int], None]
    ) -> pa.Table:
        rows: list[tuple[Any, ...]] = []
        for start in range(0, len(items), _HELD):
            part = items[start : start + _HELD]
            with self._store.holding([asset for asset, _ in part]):
                paths = [(self._path(asset), boxes) for asset, boxes in part]
                for at, ((asset, boxes), found) in enumerate(zip(part, measure_files(paths), strict=True), start + 1):
                    if isinstance(found, PictureError):
                        failures[asset.id] = found.reason
                    else:
                        rows.append(_row(asset, boxes, found))
                    on_count(at)
        return _table(rows, KEPT)

    def _path(self, asset: Asset) -> Path:
        found = self._store.path(asset.id, asset.extension)
        if found is None:
            raise DatasetError(f"the asset {asset.file_name} is not in the store", hint="Import its dataset again.", asset=asset.id)
        return found

    # -------------------------------------------------------------------------------------------------------- keeping

    def _kept(self, by: str, wanted: pa.Array, columns: list[str]) -> pa.Table:
        """The rows whose ``by`` is wanted and that have the last of the columns."""
        tables = [KEPT.empty_table().select(columns)]
        with self._locked():
            for file in self._files():
                found = _read(file, [by])
                rows = None if found is None else pc.is_in(found[by], value_set=wanted)
                if rows is not None and pc.any(rows).as_py() and (table := _read(file, columns)) is not None:
                    tables.append(table.filter(pc.and_(rows, pc.is_valid(table[columns[-1]]))))
        return pa.concat_tables(tables)

    def _add_hashes(self, assets: Sequence[Asset], hashes: npt.NDArray[np.uint64], failed: set[int]) -> None:
        rows = [(asset.id, int(value)) for at, (asset, value) in enumerate(zip(assets, hashes, strict=True)) if at not in failed]
        given = {"key": [asset for asset, _ in rows], "asset_id": [asset for asset, _ in rows], "hash": [value for _, value in rows]}
        columns = [pa.array(given[f.name], f.type) if f.name in given else pa.nulls(len(rows), f.type) for f in KEPT]
        self._add(pa.Table.from_arrays(columns, schema=KEPT))

    def _add(self, rows: pa.Table) -> None:
        if len(rows):
            with self._locked():
                write_table(self.folder / f"{secrets.token_hex(8)}.parquet", rows.replace_schema_metadata(_MARK))
            self._compact()

    def _compact(self) -> None:
        """Makes one file of many small ones, unless somebody reads or writes. What cannot be read, or is of another extractor, goes.

        A process that is killed here leaves rows twice, which is harmless: the first is taken.
        """
        if len(self._files()) <= _MOST_SMALL_FILES:
            return
        with self._locked(alone=True) as free:
            tables = {file: _read(file, KEPT.names) for file in self._files()} if free else {}
            small = [table for table in tables.values() if table is not None and len(table) < _PART]
            if len(small) > _MOST_SMALL_FILES:
                merged = pa.concat_tables(small)
                first = np.unique(np.asarray(merged["key"].to_numpy(), object).astype(str), return_index=True)[1]
                write_table(self.folder / f"{secrets.token_hex(8)}.parquet", merged.take(first).replace_schema_metadata(_MARK))
                for file, table in tables.items():
                    if table is None or len(table) < _PART:
                        file.unlink(missing_ok=True)
                for file in self.folder.glob("*.new"):
                    file.unlink(missing_ok=True)  # of a process that was killed: whoever writes holds the lock

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))

    @contextmanager
    def _locked(self, *, alone: bool = False) -> Iterator[bool]:
        """Shared with all who read or add; ``alone``: whether nobody else is there, without waiting."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UnavailableError(
                f"{self.folder} cannot be used: {error.strerror}", hint="Is the disk full, or the home read-only?"
            ) from error
        try:
            if not alone:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield try_lock(descriptor) if alone else True
        finally:
            os.close(descriptor)


def write_table(file: Path, table: pa.Table) -> None:
    """The table under its name only when it is whole and on the disk."""
    new = file.with_suffix(f".{os.getpid()}.new")
    try:
        pq.write_table(table, new, compression="zstd")
        with new.open("rb") as written:
            os.fsync(written.fileno())
        new.rename(file)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise UnavailableError(f"{file} cannot be written: {error.strerror or error}", hint="Is the disk full?") from error


def _read(file: Path, columns: list[str]) -> pa.Table | None:
    """These columns; None for what this extractor did not write, or cannot be read."""
    try:
        opened = pq.ParquetFile(file)
        if (opened.schema_arrow.metadata or {}).get(b"sluice.extractor") != EXTRACTOR.encode():
            return None
        return opened.read(columns).select(columns).replace_schema_metadata(None)
    except (OSError, pa.ArrowException, KeyError) as error:
        log.warning("%s cannot be read; what was in it is measured anew: %s", file, error)
        return None


def _missing(wanted: pa.Array, kept: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return np.flatnonzero(~np.asarray(pc.is_in(wanted, value_set=kept.combine_chunks())))


def _boxes(drawn: Iterable[Annotation]) -> list[tuple[float, ...]]:
    return [(a.x, a.y, a.width, a.height) for a in drawn]


def _key(asset: Asset, boxes: Iterable[tuple[float, ...]]) -> str:
    corners = array("d", [value for box in boxes for value in box]).tobytes()
    return f"{asset.id}:{hashlib.blake2b(corners, digest_size=12).hexdigest()}"


def _row(asset: Asset, boxes: list[tuple[float, ...]], found: Measured) -> tuple[Any, ...]:
    values = np.stack([found.boxes[key] for key in BOX_KEYS], axis=1).ravel() if boxes else np.zeros(0)
    features = (found.picture[key] for key in KEYS)
    return (_key(asset, boxes), asset.id, found.width, found.height, *features, found.hash, found.thumbnail, values)


def _boxes_table(drawn: Sequence[tuple[str, Annotation]], kept: pa.ChunkedArray) -> pa.Table:
    """A row per box: what was drawn and, in the same order, what was measured of it."""
    flat = kept.combine_chunks().flatten() if len(kept) else pa.array([], pa.float64())
    values = np.asarray(flat.to_numpy(zero_copy_only=False), np.float64).reshape(-1, len(BOX_KEYS))
    drawn_rows = [(asset, a.class_name, a.x, a.y, a.width, a.height) for asset, a in drawn]
    known = _table(drawn_rows, pa.schema(list(BOXES)[: len(BOXES) - len(BOX_KEYS)]))
    for number, key in enumerate(BOX_KEYS):
        known = known.append_column(key, pa.array(values[:, number]))
    return known


def _table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [
        pa.array(values, pa.string()).dictionary_encode() if pa.types.is_dictionary(kind.type) else pa.array(values, kind.type)
        for values, kind in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _counting(on_progress: Count, first: int, total: int) -> Callable[[int], None]:
    return lambda count: on_progress(first + count, total)


def _noting(told: list[tuple[int, str]]) -> Callable[[int, PictureError], None]:
    return lambda at, error: told.append((at, error.reason))


def hash_of_id(asset_id: str) -> int:
    """The first 64 bits of the id: the hash of a picture that cannot be decoded."""
    return int(asset_id[:16], 16)
