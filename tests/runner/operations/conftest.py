"""Versions to operate on, made of a few words, and what is in the result as plain Python."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.features import CLASSIFICATION_KEYS
from contracts.dataset import Annotation, Asset, Marks
from contracts.operations import parse_operation
from contracts.results import MinedPicture
from registry.dataset_classes import DatasetClass
from runner.analysis_files import Looks
from runner.dataset_files import Entry, tables_of
from runner.operations import apply
from runner.operations.base import Given, Other, Outcome, Sources
from runner.tables import Tables

NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)


def asset_id(number: int) -> str:
    return hashlib.sha1(f"picture {number}".encode()).hexdigest()


def entry(number: int, *classes: str, split: str = "", annotated: bool = True, size: tuple[int, int] = (640, 480), **marks: Any) -> Entry:
    """A picture with a box of each of the classes; its name is ``<number>.jpg``."""
    boxes = [Annotation(name, 10 * place, 5, 20, 30) for place, name in enumerate(classes)]
    return Entry(Asset(asset_id(number), "jpg", *size, 1000), f"{number}.jpg", split, boxes if annotated else None, Marks(**marks))


def tables(*entries: Entry) -> Tables:
    return tables_of(entries, NOW)


def given(
    tables: Tables,
    *,
    others: dict[str, Tables] | None = None,
    ranking: Sequence[str] = (),
    mined: Mapping[str, MinedPicture] | None = None,
    predictions: Any = None,
    hashes: Callable[[Tables], NDArray[np.uint64]] | None = None,
    looks: Callable[[Tables], Looks] | None = None,
    aliases: dict[str, tuple[str, ...]] | None = None,
) -> Given:
    every = [tables, *(others or {}).values()]
    names = sorted({name for t in every for name in t.annotations["class_name"].to_pylist()} | set(aliases or {}))
    sources = Sources(
        version=lambda reference: Other(reference, (others or {})[reference]),
        ranking=lambda _: list(ranking),
        mined=lambda _: dict(mined or {}),
        predictions=lambda _: (predictions, "model@best"),
        hashes=hashes or (lambda wanted: np.arange(len(wanted), dtype=np.uint64) << np.uint64(40)),
        looks=looks or (lambda wanted: looking(dict.fromkeys(range(len(wanted)), 0), wanted)),
    )
    return Given(tables, [DatasetClass(name, (aliases or {}).get(name, ())) for name in names], sources)


def looking(brightness: dict[int, int], wanted: Tables) -> Looks:
    """Grey pictures by their number; one that is not named cannot be read."""
    numbers = [int(name.partition(".")[0]) for name in wanted.images["name"].to_pylist()]
    known = np.array([number in brightness for number in numbers])
    levels = np.array([brightness[number] for number in numbers if number in brightness])
    thumbnails = np.repeat(levels.astype(np.uint8)[:, None], 192, axis=1)
    features = {key: levels.astype(np.float64) for key in CLASSIFICATION_KEYS}
    failures = {asset_id(number): "truncated" for number in numbers if number not in brightness}
    return Looks(known, thumbnails, features, failures)


def run(where: Given, op: str, /, **fields: Any) -> Outcome:
    return apply(where, parse_operation({"op": op, **fields}))


def names(result: Tables) -> list[int]:
    """The numbers of the pictures, in order."""
    return sorted(int(name.partition(".")[0]) for name in result.images["name"].to_pylist())


def contents(result: Tables) -> dict[int, list[str]]:
    """The classes of each picture's annotations, in their order."""
    owners = [int(name.partition(".")[0]) for name in result.images["name"].to_pylist()]
    found: dict[int, list[str]] = {owner: [] for owner in owners}
    for image, name in zip(result.annotations["image"].to_pylist(), result.annotations["class_name"].to_pylist(), strict=True):
        found[owners[image]].append(name)
    return found


def column(result: Tables, name: str) -> dict[int, Any]:
    owners = [int(text.partition(".")[0]) for text in result.images["name"].to_pylist()]
    return dict(zip(owners, result.images[name].to_pylist(), strict=True))


@pytest.fixture
def zoo() -> Tables:
    """Eight pictures of cats, dogs and nothing."""
    return tables(
        entry(0, "cat", split="train"),
        entry(1, "cat", "dog", split="train", hard=True, hard_coefficient=0.8, hard_reasons=(1, 20)),
        entry(2, "dog", "dog", split="val", tags={"weather": "rain"}),
        entry(3, split="val"),
        entry(4, annotated=False, size=(100, 900)),
        entry(5, "cat", state="to_be_confirmed", tags={"weather": "sun", "light": "day"}),
        entry(6, "bird", "cat", "dog", split="test"),
        entry(7, "bird", split="test", size=(1920, 1080)),
    )
