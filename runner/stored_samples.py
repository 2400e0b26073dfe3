"""The samples of a version, or of a part of it, as a job gets them: columns at first, samples only when somebody asks for one.

Which pictures there are takes two columns of the version's table; names, sizes and annotations are read when they are needed. A version never
changes, so that reading later gives the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from contracts.dataset import Asset, AssetFolder, AssetTable, Sample, SampleTable
from contracts.errors import DatasetError
from contracts.seams import Store
from runner.dataset_files import samples_of
from runner.tables import CHANGED_FROM_OUTSIDE, ID_DIGITS, Mask, Tables, codes_of, read_image_columns, read_tables, replaced

_BATCH = 50_000
_SAMPLES_AT_ONCE = 4096
_ASSET = ("asset_id", "extension", "width", "height", "size_bytes")
_EXTENSION = re.compile(r"[a-z0-9]{1,10}")


def stored_samples(version_folder: Path, store: Store, split: str | None = None, *, to_learn_from: bool = False) -> StoredSamples:
    """The samples of a version; ``split`` None means all of them, '' those in no split. ``to_learn_from`` leaves out pictures that nobody has
    labelled, also those whose labels wait to be confirmed, and those of the split ``test``. Raises ``DatasetError`` when a table is broken.
    """
    if to_learn_from:
        tables = read_tables(version_folder)
        mask = _equals(tables.images, "state", "labeled") & ~_equals(tables.images, "split", "test")
        return StoredSamples(version_folder, store, tables.images, mask & _of_split(tables.images, split), tables)
    images = read_image_columns(version_folder, ["asset_id", "extension", *(["split"] if split is not None else [])])
    return StoredSamples(version_folder, store, images, _of_split(images, split))


def _of_split(images: pa.Table, split: str | None) -> Mask:
    return np.ones(len(images), bool) if split is None else _equals(images, "split", split)


def _equals(images: pa.Table, name: str, word: str) -> Mask:
    codes, words = codes_of(images[name])
    return codes == words.index(word) if word in words else np.zeros(len(images), bool)


class StoredSamples(SampleTable):
    """The rows of the mask. Raises ``DatasetError`` when made of ids that are none, or not in order: they become parts of paths."""

    def __init__(self, version_folder: Path, store: Store, images: pa.Table, mask: Mask, tables: Tables | None = None) -> None:
        """``images`` has at least the columns of ids and extensions. ``tables``: those of the whole version, if they were read already."""
        self._version_folder, self._store, self._mask = version_folder, store, mask
        self._whole = tables
        chosen = images if mask.all() else images.filter(pa.array(mask))
        self._images = images
        self._ids: pa.Array = chosen["asset_id"].combine_chunks()
        extensions = chosen["extension"].cast(pa.string()).combine_chunks()
        _check_names(self._ids, extensions, version_folder)
        self._file_names: pa.Array = pc.binary_join_element_wise(self._ids, extensions, ".")

    # ---- as columns

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> pa.Array:
        return self._ids

    @property
    def assets(self) -> AssetTable:
        return _StoredAssets(self)

    @property
    def file_names(self) -> list[str]:
        return list(self._file_names.to_pylist())

    def relative_paths(self) -> Iterator[Sequence[str]]:
        for begin in range(0, len(self), _BATCH):
            yield [f"{name[38:40]}/{name}" for name in self._file_names.slice(begin, _BATCH).to_pylist()]

    def folders(self) -> Iterator[AssetFolder]:
        source = self._store.folder_of_all()
        for name, names in self._few_folders if self._are_few else self._names_by_folder():
            yield AssetFolder(name, names, names if source else [str(self._find(file)) for file in names], source)

    def refuse_missing(self) -> None:
        """Looks for every picture in the store. Raises ``DatasetError`` that names the first one that is lost."""
        for folder, names in self._names_by_folder():
            for name in self._store.missing(folder, names):
                raise self._lost(name)

    def keep(self, mask: Mask) -> StoredSamples:
        """Those of the mask, which is as long as this table."""
        rows = self._mask.copy()
        rows[rows] = mask
        return StoredSamples(self._version_folder, self._store, self._images, rows, self._whole)

    @property
    def annotation_count(self) -> int:
        return len(self.tables.annotations)

    def names_of(self, asset_ids: Sequence[str]) -> list[str]:
        """The file names they were imported under; '' for an id that is none of these."""
        rows = pc.index_in(pa.array(asset_ids, pa.string()), value_set=self._ids)
        return list(pc.fill_null(self._column("name").take(rows), "").to_pylist())

    def _names_by_folder(self) -> Iterator[tuple[str, list[str]]]:
        if not len(self):
            return
        _, offsets, data = self._ids.buffers()
        begin = int(np.frombuffer(offsets, np.int32)[self._ids.offset])
        digits = np.frombuffer(data, np.uint8)[begin : begin + len(self) * ID_DIGITS]
        ends = digits.reshape(-1, ID_DIGITS)[:, 38:].astype(np.uint16)
        keys = (ends[:, 0] << 8) | ends[:, 1]
        order = np.argsort(keys, kind="stable")
        found, starts = np.unique(keys[order], return_index=True)
        names, ends_at = self._file_names.take(pa.array(order)), [*starts[1:].tolist(), len(order)]
        for key, begin, end in zip(found.tolist(), starts.tolist(), ends_at, strict=True):
            yield chr(key >> 8) + chr(key & 255), names.slice(begin, end - begin).to_pylist()

    def _find(self, file_name: str) -> Path:
        path = self._store.path(*file_name.split(".", 1))
        if path is None:
            raise self._lost(file_name)
        return path

    def _lost(self, file_name: str) -> DatasetError:
        (name,) = self.names_of([file_name[:ID_DIGITS]])
        hint = "Import its dataset again: what is missing in the store is added."
        return DatasetError(f"the asset {file_name} ({name}) is not in the store", hint=hint, asset=file_name[:ID_DIGITS])

    # ---- as samples

    @property
    def tables(self) -> Tables:
        """The version's tables with these pictures alone."""
        return self._tables

    @cached_property
    def _tables(self) -> Tables:
        return (self._whole or read_tables(self._version_folder)).keep(self._mask)

    @cached_property
    def _owners(self) -> NDArray[np.int32]:
        return self.tables.owners

    def _column(self, name: str) -> pa.ChunkedArray:
        column = read_image_columns(self._version_folder, [name])[name] if self._whole is None else self._whole.images[name]
        return column.filter(pa.array(self._mask))

    def get(self, asset_id: str) -> Sample:
        """One of these. Raises ``KeyError``."""
        place = pc.index(self._ids, asset_id).as_py()
        if place < 0:
            raise KeyError(asset_id)
        return self._samples(place, 1)[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return self._samples(place, 1)[0]

    @property
    def _are_few(self) -> bool:
        """So few that what was made of them is kept: small jobs are staged again and again."""
        return len(self) <= _SAMPLES_AT_ONCE

    @cached_property
    def _few_folders(self) -> list[tuple[str, list[str]]]:
        return list(self._names_by_folder())

    @cached_property
    def _few_samples(self) -> list[Sample]:
        return self._samples(0, len(self))

    def __iter__(self) -> Iterator[Sample]:
        if self._are_few:
            yield from self._few_samples
            return
        for begin in range(0, len(self), _SAMPLES_AT_ONCE):
            yield from self._samples(begin, _SAMPLES_AT_ONCE)

    def _samples(self, begin: int, count: int) -> list[Sample]:
        images, owners = self.tables.images.slice(begin, count), self._owners
        first, end = np.searchsorted(owners, [begin, begin + count])
        annotations = self.tables.annotations.slice(first, end - first)
        part = Tables(images, replaced(annotations, "image", pa.array(owners[first:end] - np.int32(begin))))
        return samples_of(part, self._store, self._store.folder_of_all())

    def asset(self, place: int) -> Asset:
        row = self._asset_columns.slice(place, 1).to_pylist()[0]
        return Asset(*(row[name] for name in _ASSET))

    @cached_property
    def _asset_columns(self) -> pa.Table:
        return read_image_columns(self._version_folder, list(_ASSET)).filter(pa.array(self._mask))


class _StoredAssets(AssetTable):
    def __init__(self, samples: StoredSamples) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self._samples.asset(range(len(self))[index])

    @property
    def file_names(self) -> Sequence[str]:
        return self._samples.file_names


def _check_names(ids: pa.Array, extensions: pa.Array, version_folder: Path) -> None:
    """SECURITY: both become a path. As whole columns, which for a million takes a tenth of a second."""
    _, offsets, data = ids.buffers()
    ends = np.frombuffer(offsets or b"", np.int32)[ids.offset : ids.offset + len(ids) + 1] if len(ids) else np.zeros(1, np.int32)
    text = memoryview(data or b"")[ends[0] : ends[-1]]
    alike = bool((np.diff(ends) == ID_DIGITS).all()) and not ids.null_count
    plain = all(word and _EXTENSION.fullmatch(word) for word in pc.unique(extensions).to_pylist())
    if not alike or not plain or bytes(text).translate(None, b"0123456789abcdef"):
        raise DatasetError(f"{version_folder} names assets that are none", hint=CHANGED_FROM_OUTSIDE, path=str(version_folder))
    rows = np.frombuffer(text, f"S{ID_DIGITS}")
    if not (rows[1:] > rows[:-1]).all():
        raise DatasetError(f"{version_folder} has assets out of order, or twice", hint=CHANGED_FROM_OUTSIDE, path=str(version_folder))
