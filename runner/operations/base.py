"""What every operation is given and gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from contracts.errors import RequestError
from contracts.results import MinedPicture
from contracts.seams import Skip
from registry.dataset_classes import DatasetClass, names_by_alias
from runner.operations.expression import choose
from runner.tables import Mask, Tables, codes_of, id_keys, mixed, replaced, words

if TYPE_CHECKING:
    from runner.analysis_files import Looks


@dataclass(frozen=True)
class Other:
    """Another version that an operation reads; ``canonical`` says what its class names mean in the dataset that is made."""

    reference: str
    tables: Tables


@dataclass(frozen=True)
class Sources:
    """Where an operation finds what it names: other versions, what jobs left, perceptual hashes of pictures and how they look.

    ``mined``: by asset id, what a mining job said of its pictures.
    """

    version: Callable[[str], Other]
    ranking: Callable[[str], list[str]]
    mined: Callable[[str], Mapping[str, MinedPicture]]
    predictions: Callable[[str], tuple[pa.Table, str]]
    hashes: Callable[[Tables], NDArray[np.uint64]]
    looks: Callable[[Tables], Looks]


@dataclass(frozen=True)
class Given:
    """A version and what is known around it."""

    tables: Tables
    classes: Sequence[DatasetClass]
    sources: Sources

    @property
    def canonical(self) -> dict[str, str]:
        return names_by_alias(self.classes)


@dataclass(frozen=True)
class Outcome:
    """``touched``: pictures of ``tables`` that may differ from before, or do where ``exact``; None: only that some are gone.

    ``classes`` None: as before.
    """

    tables: Tables
    touched: Mask | None = None
    exact: bool = False
    classes: Sequence[DatasetClass] | None = None
    inputs: tuple[str, ...] = ()
    notes: tuple[Skip, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def chosen(given: Given, assets: Sequence[str], where: str) -> Mask:
    """The pictures that are named, and that the expression chooses; all of what is given must fit. Raises ``RequestError`` for an unknown id."""
    mask = np.ones(len(given.tables), bool)
    if assets:
        mask &= members(given.tables, assets)
    if where:
        mask &= choose(given.tables, where, given.canonical)
    return mask


def members(tables: Tables, assets: Sequence[str]) -> Mask:
    wanted = pa.array(list(dict.fromkeys(assets)), pa.string())
    missing = wanted.filter(pc.invert(pc.is_in(wanted, value_set=tables.asset_ids)))
    if len(missing):
        raise RequestError(
            f"{len(missing)} of the assets are not in this version, e.g. {missing[0].as_py()[:60]!r}", hint="Name assets by their ids."
        )
    return np.asarray(pc.is_in(tables.asset_ids, value_set=wanted))


def with_class_names(tables: Tables, names: Mapping[str, str]) -> Tables:
    """Annotations of classes that ``names`` maps get the name that they map to."""
    codes, known = codes_of(tables.annotations["class_name"])
    if not any(names.get(name, name) != name for name in known):
        return tables
    new = list(dict.fromkeys(names.get(name, name) for name in known))
    places = np.array([new.index(names.get(name, name)) for name in known], np.int32)
    return Tables(tables.images, replaced(tables.annotations, "class_name", words(places[codes], new)))


def by_chance(tables: Tables, seed: int) -> NDArray[np.uint64]:
    """A number for each picture that follows from its content and the seed alone: others that come or go do not change it."""
    return mixed(id_keys(tables.images["asset_id"]) ^ mixed(np.full(len(tables), seed % 2**64, np.uint64)))


def strata(tables: Tables) -> NDArray[np.int64]:
    """The rarest class of each picture as a number, rarest first; pictures without annotations are the last."""
    codes, names = codes_of(tables.annotations["class_name"])
    counts = np.bincount(codes, minlength=len(names))
    rank = np.empty(len(names), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(names))
    rarest = np.full(len(tables), len(names), np.int64)
    per_image = tables.counts()
    with_any = per_image > 0
    if len(codes):
        starts = (np.cumsum(per_image) - per_image)[with_any]
        rarest[with_any] = np.minimum.reduceat(rank[codes], starts)
    return rarest
