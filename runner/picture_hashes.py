"""Perceptual hashes of assets, kept by content: a picture is decoded for it once in the life of a home."""

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
        known = pa.concat_tables([known, _computed(installation, missing)])
        _write(file, known)
    rows = pc.index_in(tables.asset_ids, value_set=known["asset_id"].combine_chunks())
    return np.asarray(known["hash"].take(rows), np.uint64)


def _computed(installation: Installation, tables: Tables) -> pa.Table:
    from analysis.near_duplicates import hash_pictures

    paths = [
        _path(installation, asset_id, extension)
        for asset_id, extension in zip(tables.asset_ids.to_pylist(), tables.image_column("extension"), strict=True)
    ]
    hashes = hash_pictures(paths, on_failure=lambda *_: None)
    return pa.table({"asset_id": tables.asset_ids, "hash": pa.array(hashes, pa.uint64())})


def _path(installation: Installation, asset_id: str, extension: str) -> Path:
    found = installation.store.find(asset_id, extension)
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
