"""Perceptual hashes of assets, kept by content: a picture is decoded for it once in the life of a home.

What cannot be decoded is known by its id, which no other asset has, and not kept: the file may be mended. Its bytes tell nothing: files that
lost theirs are all alike, and a deduplication would take all of them but one out.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from contracts.errors import DatasetError
from runner.installation import Installation
from runner.tables import Tables

_FILE = "picture-hashes.parquet"


def picture_hashes(installation: Installation, tables: Tables) -> NDArray[np.uint64]:
    """One for each picture of the tables, in their order. Raises ``DatasetError`` for an asset that is lost."""
    file = installation.home / "analysis" / _FILE
    known = _read(file)
    missing = tables.keep(~np.asarray(pc.is_in(tables.asset_ids, value_set=known["asset_id"].combine_chunks())))
    if len(missing):
        found, decoded = _computed(installation, missing)
        _write(file, pa.concat_tables([known, found.filter(decoded)]))
        known = pa.concat_tables([known, found])
    rows = pc.index_in(tables.asset_ids, value_set=known["asset_id"].combine_chunks())
    return np.asarray(known["hash"].take(rows), np.uint64)


def hash_of_id(asset_id: str) -> int:
    """The first 64 bits of the id: the hash of a picture that cannot be decoded."""
    return int(asset_id[:16], 16)


def _computed(installation: Installation, tables: Tables) -> tuple[pa.Table, pa.Array]:
    """The hash of each picture, and whether it could be decoded."""
    from analysis.near_duplicates import hash_pictures

    paths = [
        _path(installation, asset_id, extension)
        for asset_id, extension in zip(tables.asset_ids.to_pylist(), tables.image_column("extension"), strict=True)
    ]
    failed: list[int] = []
    hashes = hash_pictures(paths, on_failure=lambda index, _: failed.append(index))
    for index in failed:
        hashes[index] = hash_of_id(tables.asset_ids[index].as_py())
    decoded = np.ones(len(paths), bool)
    decoded[failed] = False
    return pa.table({"asset_id": tables.asset_ids, "hash": pa.array(hashes, pa.uint64())}), pa.array(decoded)


def _path(installation: Installation, asset_id: str, extension: str) -> Path:
    found = installation.store.path(asset_id, extension)
    if found is None:
        raise DatasetError(f"the asset {asset_id}.{extension} is not in the store", hint="Import its dataset again.", asset=asset_id)
    return found


def _read(file: Path) -> pa.Table:
    """What was computed before; a file that cannot be read is made anew, for it only saves time."""
    try:
        return pq.read_table(file).select(["asset_id", "hash"])
    except (OSError, pa.ArrowException, KeyError):
        return pa.table({"asset_id": pa.array([], pa.string()), "hash": pa.array([], pa.uint64())})


def _write(file: Path, table: pa.Table) -> None:
    """Of two at once the last one stays; the other's are computed again."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    pq.write_table(table, aside, compression="lz4")
    aside.replace(file)
