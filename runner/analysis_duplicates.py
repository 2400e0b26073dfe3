"""Near-duplicates among samples: which look the same, which of each group stays, and where the same picture stands in two splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from analysis.near_duplicates import distance_of, distances, groups, keep_one_of_each, similarity
from contracts.dataset import Sample
from contracts.errors import ParameterError
from runner.analysis_files import write_table

_LEAST_SIMILARITY = 0.5


def check_similarity(wanted: float) -> None:
    """Raises ``ParameterError`` for a threshold at which unlike pictures would be alike."""
    if not _LEAST_SIMILARITY <= wanted <= 1.0:
        hint = "1 is the same hash, 0.9 holds small changes; below 0.5 unlike pictures begin."
        raise ParameterError(f"similarity is {wanted}; it must be from {_LEAST_SIMILARITY} to 1", hint=hint, similarity=wanted)


def find(
    folder: Path,
    samples: Sequence[Sample],
    hashes: npt.NDArray[np.uint64],
    failures: Mapping[str, str],
    threshold: float,
    limit: int,
) -> dict[str, Any]:
    """Writes ``duplicates.parquet`` (a row per picture that has a twin) and gives the first ``limit`` groups, the largest first.

    Of each group the pictures with most pixels stay; one that goes has one that stays and is as similar as asked.
    """
    found = groups(hashes, distance_of(threshold))
    kept = keep_one_of_each(hashes, threshold, preference=[s.asset.width * s.asset.height for s in samples])
    sizes = np.bincount(found)
    twins = np.flatnonzero(sizes[found] > 1)
    order = twins[np.lexsort((~kept[twins], found[twins], -sizes[found[twins]]))]
    members = np.split(order, np.flatnonzero(np.diff(found[order])) + 1) if len(order) else []
    likeness = np.concatenate([similarity(distances(hashes[group[0]], hashes[group])) for group in members] or [np.zeros(0)])
    numbers = np.repeat(np.arange(len(members)), [len(group) for group in members])
    _write(folder / "duplicates.parquet", [samples[at] for at in order], hashes[order], numbers, kept[order], likeness)
    shown = [
        [_picture(samples[at], bool(kept[at]), float(like)) for at, like in zip(group, part, strict=True)]
        for group, part in _parts(members, likeness, limit)
    ]
    return {
        "max_distance": distance_of(threshold),
        "images": len(samples),
        "group_count": len(members),
        "images_in_groups": len(order),
        "images_to_drop": int((~kept).sum()),
        "groups_across_splits": sum(len({samples[at].split for at in group}) > 1 for group in members),
        "groups": shown,
        "unreadable": len(failures),
        "failures": [{"name": s.name or s.asset.file_name, "reason": failures[s.asset.id]} for s in samples if s.asset.id in failures][:20],
        "files": ["duplicates.parquet"],
    }


def _parts(members: list[Any], likeness: npt.NDArray[np.float64], limit: int) -> list[tuple[Any, Any]]:
    ends = np.cumsum([len(group) for group in members])
    return [(group, likeness[end - len(group) : end]) for group, end in zip(members[:limit], ends[:limit], strict=True)]


def _picture(sample: Sample, kept: bool, like: float) -> dict[str, Any]:
    asset = sample.asset
    size = {"width": asset.width, "height": asset.height}
    return {"asset": asset.id, "name": sample.name, "split": sample.split, **size, "kept": kept, "similarity": round(like, 4)}


def _write(
    file: Path,
    samples: Sequence[Sample],
    hashes: npt.NDArray[np.uint64],
    numbers: npt.NDArray[np.int64],
    kept: npt.NDArray[np.bool_],
    likeness: npt.NDArray[np.float64],
) -> None:
    """``group`` from 0, the largest first; ``similarity`` is to the first picture of the group, which stays."""
    columns: dict[str, Any] = {
        "group": numbers,
        "asset_id": pa.array([sample.asset.id for sample in samples], pa.string()),
        "name": pa.array([sample.name for sample in samples], pa.string()),
        "split": pa.array([sample.split for sample in samples], pa.string()),
        "hash": hashes,
        "kept": kept,
        "similarity": likeness,
    }
    write_table(file, pa.table(columns))
