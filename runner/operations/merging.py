"""Merges versions: every picture once, its annotations by the rule for conflicts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from contracts.dataset import STATES
from contracts.errors import ConflictError
from contracts.operations import Merge
from runner.operations.base import Given, Outcome, with_class_names
from runner.tables import Mask, Rows, Tables, codes_of, concatenated, id_order, image_digests, mixed, replaced, row_digests, taken, words


def merged(given: Given, operation: Merge) -> Outcome:
    others = [given.sources.version(reference) for reference in operation.references]
    parts = [given.tables, *(with_class_names(other.tables, given.canonical) for other in others)]
    if operation.conflict == "refuse":
        _refuse_conflicts(parts, ["the version itself", *(other.reference for other in others)])
    pile = _Pile(parts)
    tables, touched = pile.united() if operation.conflict == "union" else pile.chosen(last=operation.conflict == "last")
    return Outcome(tables, touched, inputs=tuple(other.reference for other in others))


class _Pile:
    """The rows of all parts one below the other, and which of them are the same picture."""

    def __init__(self, parts: Sequence[Tables]) -> None:
        self.images = concatenated([part.images for part in parts])
        self.source = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        offsets = np.cumsum([0, *(len(part) for part in parts)])
        self.annotations = concatenated([part.annotations for part in parts])
        self.owners = np.concatenate([part.owners + offset for part, offset in zip(parts, offsets, strict=False)])
        order = id_order(self.images["asset_id"])
        self.group = np.empty(len(order), np.int32)
        self.group[order] = np.cumsum(self._is_new(order)) - 1

    def _is_new(self, order: Rows) -> Mask:
        ids = self.images["asset_id"].take(pa.array(order)).combine_chunks()
        new = np.ones(len(ids), bool)
        if len(ids) > 1:
            new[1:] = np.asarray(pc.not_equal(ids[1:], ids[:-1]))
        return new

    @cached_property
    def several(self) -> Mask:
        """For each picture of the result whether several parts have it."""
        return np.asarray(np.bincount(self.group) > 1)

    def winners(self, *, last: bool) -> Rows:
        """The row that counts of each picture: one that is labelled, of those the first or last, before others."""
        state, names = codes_of(self.images["state"])
        rank = np.array([STATES.index(name) for name in names], np.int64)[state]
        worth = rank * len(self.group) + (self.source if last else -self.source)
        order = np.lexsort((-worth, self.group))
        first = np.ones(len(order), bool)
        first[1:] = self.group[order][1:] != self.group[order][:-1]
        return np.asarray(order[first])

    def chosen(self, *, last: bool) -> tuple[Tables, Mask]:
        rows = self.winners(last=last)
        target = np.full(len(self.group), -1, np.int32)
        target[rows] = np.arange(len(rows), dtype=np.int32)
        tables = self._result(rows, target)
        return tables, self.several & ((self.source[rows] != 0) | self._moved(tables, rows))

    def _moved(self, tables: Tables, rows: Rows) -> Mask:
        """The pictures that came into another split than their row's."""
        before, names = codes_of(self.images["split"])
        after, same_names = codes_of(tables.images["split"])
        return np.asarray(before[rows] != after) if names == same_names else np.ones(len(rows), bool)

    def united(self) -> tuple[Tables, Mask]:
        """Each picture with the annotations of all parts, equal ones once."""
        tables = self._result(self.winners(last=False), self.group)
        rows = np.flatnonzero(self.several[tables.owners])
        keys = mixed(row_digests(taken(tables.annotations, rows)) + tables.owners[rows].astype(np.uint64))
        mask = ~self.several[tables.owners]
        mask[rows[np.unique(keys, return_index=True)[1]]] = True
        return tables.keep_annotations(mask), self.several

    def _result(self, rows: Rows, target: NDArray[np.int32]) -> Tables:
        """The rows, which are in the order of their ids, with the annotations of every row that has a target."""
        owners = target[self.owners]
        kept = np.flatnonzero(owners >= 0)
        kept = kept[np.argsort(owners[kept], kind="stable")]
        annotations = replaced(taken(self.annotations, kept), "image", pa.array(owners[kept]))
        return Tables(replaced(taken(self.images, rows), "split", self._splits(rows)), annotations)

    def _splits(self, rows: Rows) -> Any:
        """Those of the rows; a picture that is in ``test`` anywhere stays out of training."""
        codes, names = codes_of(self.images["split"])
        if "test" not in names:
            return words(codes[rows], names)
        tested = np.bincount(self.group[codes == names.index("test")], minlength=len(rows)) > 0
        return words(np.where(tested, names.index("test"), codes[rows]), names)


def _refuse_conflicts(parts: Sequence[Tables], names: Sequence[str]) -> None:
    digests = [dict(zip(part.asset_ids.to_pylist(), image_digests(part).tolist(), strict=True)) for part in parts]
    for other, name in zip(digests[1:], names[1:], strict=True):
        differing = [asset for asset, digest in other.items() if digests[0].get(asset, digest) != digest]
        if differing:
            raise ConflictError(
                f"{len(differing)} pictures of {name} differ from those of the version, e.g. {differing[0]}",
                hint="Say whose annotations count: first, last or union.",
                assets=differing[:100],
            )
