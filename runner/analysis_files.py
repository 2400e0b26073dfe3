"""What was measured of a dataset version, kept beside it so that each picture is decoded once: ``<home>/analysis/<dataset>/<version>/``.

``features.parquet`` has one row per picture: its id, size, the 14 features (of a box feature the mean over its boxes), its 64-bit hash and its
thumbnail of 8 x 8 pixels; ``boxes.parquet`` one row per box with the six box features; ``hashes.parquet`` the hashes of pictures that were
compared but not measured. The version's own folder is never written to. A file that belongs to another content of the version (a database that
was restored) or cannot be read is measured anew. Pictures that could not be read are not kept: the next analysis tries them again.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.features import BOX_KEYS, KEYS, Measured, measure_files
from analysis.near_duplicates import hash_pictures
from analysis.pictures import PictureError
from contracts.dataset import Annotation, Sample
from contracts.errors import UnavailableError
from runner.picture_hashes import hash_of_id

log = logging.getLogger(__name__)
Count = Callable[[int, "int | None"], None]

#: Changes when a formula does: what was measured before is then measured anew.
EXTRACTOR = "1"
#: What is measured is written after so many pictures, so that a killed analysis goes on where it was.
_PART = 50_000
_WORD = pa.dictionary(pa.int32(), pa.string())
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
        ("class_name", _WORD),
        *((name, pa.float64()) for name in ("x", "y", "width", "height")),
        *((key, pa.float64()) for key in BOX_KEYS),
    ]
)
HASHES = pa.schema([("asset_id", pa.string()), ("hash", pa.uint64())])


@dataclass(frozen=True)
class Features:
    """The measured pictures of a version or split, in the order of asset ids, and why the others could not be read, by asset id."""

    pictures: pa.Table
    boxes: pa.Table
    failures: dict[str, str]

    def column(self, key: str) -> npt.NDArray[np.float64]:
        """The values of a feature: per box of a box feature, else per picture."""
        table = self.boxes if key in BOX_KEYS else self.pictures
        return np.asarray(table[key].to_numpy(), np.float64)


def has_box(annotation: Annotation) -> bool:
    """Whether an annotation counts as a box in the box features: no label of the whole picture and no point."""
    sides = np.array([annotation.x, annotation.y, annotation.width, annotation.height])
    return annotation.shape not in ("image", "point") and bool(np.isfinite(sides).all() and (sides[2:] >= 0).all())


class AnalysisFiles:
    """The kept measurements of one version. ``content_hash`` is the version's."""

    def __init__(self, folder: Path, content_hash: str) -> None:
        self.folder = folder
        self._mark = {b"sluice.extractor": EXTRACTOR.encode(), b"sluice.content_hash": content_hash.encode()}

    def features(self, samples: Sequence[Sample], on_progress: Count) -> Features:
        """All 14 features of the samples; what is not kept yet is measured and kept. One process at a time does that for a version."""
        failures: dict[str, str] = {}
        with self._locked():
            pictures, boxes = self._kept("features.parquet", PICTURES), self._kept("boxes.parquet", BOXES)
            known = set(pictures["asset_id"].to_pylist())
            boxes = _rows_of(boxes, known)  # a process that was killed between the two files leaves boxes of pictures it did not write
            missing = [sample for sample in samples if sample.asset.id not in known]
            done = len(samples) - len(missing)
            for start in range(0, len(missing), _PART):
                new = _measure(missing[start : start + _PART], failures, _counting(on_progress, done + start, len(samples)))
                pictures, boxes = pa.concat_tables([pictures, new[0]]), pa.concat_tables([boxes, new[1]], promote_options="permissive")
                self._keep("boxes.parquet", boxes, BOXES)
                self._keep("features.parquet", pictures, PICTURES)
        wanted = {sample.asset.id for sample in samples}
        return Features(_rows_of(pictures, wanted).sort_by("asset_id"), _rows_of(boxes, wanted), failures)

    def hashes(self, samples: Sequence[Sample], on_progress: Count) -> tuple[npt.NDArray[np.uint64], dict[str, str]]:
        """The hash of each sample's picture, in their order, and why some could not be decoded, by asset id (those are like none)."""
        failures: dict[str, str] = {}
        with self._locked():
            tables = [self._kept("features.parquet", PICTURES).select(["asset_id", "hash"]), self._kept("hashes.parquet", HASHES)]
            known = {asset: value for table in tables for asset, value in zip(*(table[c].to_pylist() for c in HASHES.names), strict=True)}
            missing = [sample for sample in samples if sample.asset.id not in known]
            for start in range(0, len(missing), 1000):
                on_progress(len(samples) - len(missing) + start, len(samples))
                part = missing[start : start + 1000]
                told: list[tuple[int, str]] = []
                found = hash_pictures([sample.path for sample in part], on_failure=_noting(told))
                known.update(zip((sample.asset.id for sample in part), found.tolist(), strict=True))
                failures.update({part[at].asset.id: reason for at, reason in told})
                known.update({part[at].asset.id: hash_of_id(part[at].asset.id) for at, _ in told})
            if missing:
                on_progress(len(samples), len(samples))
                rows = [(asset, value) for asset, value in known.items() if asset not in failures]
                self._keep("hashes.parquet", _table(rows, HASHES), HASHES)
        return np.array([known[sample.asset.id] for sample in samples], np.uint64), failures

    def _kept(self, name: str, schema: pa.Schema) -> pa.Table:
        """The table as it was kept; an empty one when there is none that fits."""
        try:
            table = pq.read_table(self.folder / name)
            metadata = table.schema.metadata or {}
            if all(metadata.get(key) == value for key, value in self._mark.items()) and table.schema.names == schema.names:
                return table.cast(schema)
        except FileNotFoundError:
            pass
        except (OSError, pa.ArrowException) as error:
            log.warning("%s cannot be read and is measured anew: %s", self.folder / name, error)
        return schema.empty_table()

    def _keep(self, name: str, table: pa.Table, schema: pa.Schema) -> None:
        write_table(self.folder / name, table.cast(schema).replace_schema_metadata(self._mark))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UnavailableError(
                f"{self.folder} cannot be used: {error.strerror}", hint="Is the disk full, or the home read-only?"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
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


def _measure(samples: Sequence[Sample], failures: dict[str, str], on_count: Callable[[int], None]) -> tuple[pa.Table, pa.Table]:
    pictures: list[tuple[Any, ...]] = []
    boxes: list[tuple[Any, ...]] = []
    drawn = [[a for a in sample.annotations if has_box(a)] for sample in samples]
    items = ((sample.path, [(a.x, a.y, a.width, a.height) for a in of]) for sample, of in zip(samples, drawn, strict=True))
    for at, (sample, of, found) in enumerate(zip(samples, drawn, measure_files(items), strict=True), 1):
        if isinstance(found, PictureError):
            failures[sample.asset.id] = found.reason
        else:
            pictures.append((sample.asset.id, found.width, found.height, *(found.picture[k] for k in KEYS), found.hash, found.thumbnail))
            boxes += _box_rows(sample.asset.id, of, found)
        on_count(at)
    return _table(pictures, PICTURES), _table(boxes, BOXES)


def _box_rows(asset_id: str, drawn: Sequence[Annotation], found: Measured) -> Iterator[tuple[Any, ...]]:
    columns = [found.boxes[key].tolist() for key in BOX_KEYS]
    for annotation, *values in zip(drawn, *columns, strict=True):
        yield (asset_id, annotation.class_name, annotation.x, annotation.y, annotation.width, annotation.height, *values)


def _table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [
        pa.array(values, pa.string()).dictionary_encode() if pa.types.is_dictionary(kind.type) else pa.array(values, kind.type)
        for values, kind in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _rows_of(table: pa.Table, assets: set[str]) -> pa.Table:
    return table.filter(pc.is_in(table["asset_id"], value_set=pa.array(sorted(assets), pa.string())))


def _counting(on_progress: Count, first: int, total: int) -> Callable[[int], None]:
    return lambda count: on_progress(first + count, total)


def _noting(told: list[tuple[int, str]]) -> Callable[[int, PictureError], None]:
    return lambda at, error: told.append((at, error.reason))
