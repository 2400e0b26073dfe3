"""Divides a version into splits: by shares, seeded, stratified, with near-duplicates together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import RequestError
from contracts.operations import Split
from runner.operations.base import Given, Outcome, by_chance, strata
from runner.operations.selecting import evenly, one_of
from runner.tables import Mask, Tables, codes_of, words


def divided(given: Given, operation: Split) -> Outcome:
    """Each split gets its share of the pictures, rounded half up and in the order given, so that 0.8 of 20 is 16.

    Groups of near-duplicates are dealt out first, the largest first, each to the split that lacks most; single pictures fill the rest.
    A near-duplicate of a picture that stays in its split goes there, too.
    """
    tables = given.tables
    free = ~one_of(tables, "split", operation.keep) if operation.keep else np.ones(len(tables), bool)
    if not free.any():
        raise RequestError(f"split: every picture is in {', '.join(operation.keep)}, which stay as they are", hint="Say --keep ''.")
    codes, names = codes_of(tables.images["split"])
    groups = [] if operation.group_distance is None else _groups(given, operation.group_distance)
    joined = _joined(codes, free, groups)
    free &= joined == codes
    place = np.full(len(tables), -1, np.int64)
    quotas = _quotas(int(free.sum()), operation.ratios)
    _deal_groups(place, [group for group in groups if free[group].all()], quotas)
    layers = strata(tables) if operation.stratify else np.zeros(len(tables), np.int64)
    order = np.lexsort((by_chance(tables, operation.seed), layers))
    _deal_singles(place, order[(free & (place < 0))[order]], quotas)
    return _outcome(tables, place, free, joined, [*names], list(operation.ratios))


def _joined(codes: NDArray[np.int32], free: Mask, groups: list[Any]) -> NDArray[np.int32]:
    """The split of each picture, where near-duplicates have followed those that stay."""
    joined: NDArray[np.int32] = codes.copy()
    for group in groups:
        fixed = group[~free[group]]
        if len(fixed):
            joined[group[free[group]]] = codes[fixed[0]]
    return joined


def _quotas(total: int, ratios: Mapping[str, float]) -> NDArray[np.int64]:
    """Pictures for each split; what rounding gives too much is taken from the last."""
    quotas: list[int] = []
    for ratio in ratios.values():
        quotas.append(min(int(total * ratio + 0.5 + 1e-9), total - sum(quotas)))
    if abs(sum(ratios.values()) - 1) < 1e-9:
        quotas[-1] = total - sum(quotas[:-1])
    return np.array(quotas, np.int64)


def _groups(given: Given, distance: int) -> list[Any]:
    """The pictures of each group of near-duplicates, largest group first."""
    from analysis.near_duplicates import groups

    ids = np.asarray(groups(given.sources.hashes(given.tables), distance))
    order = np.argsort(ids, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(ids[order])) + 1)
    return sorted((part for part in parts if len(part) > 1), key=lambda part: (-len(part), part[0]))


def _deal_groups(place: NDArray[np.int64], groups: list[Any], quotas: NDArray[np.int64]) -> None:
    for group in groups:
        target = int(np.argmax(quotas))
        place[group] = target
        quotas[target] -= len(group)


def _deal_singles(place: NDArray[np.int64], rows: NDArray[np.int64], quotas: NDArray[np.int64]) -> None:
    """One split after the other takes its share of what is left, spread over the layers."""
    for number, quota in enumerate(np.maximum(quotas, 0)):
        taken = evenly(len(rows), min(int(quota), len(rows)))
        place[rows[taken]] = number
        rows = rows[~taken]


def _outcome(
    tables: Tables, place: NDArray[np.int64], free: Mask, joined: NDArray[np.int32], known: list[str], names: list[str]
) -> Outcome:
    all_names = list(dict.fromkeys([*known, *names, ""]))
    numbers = np.array([all_names.index(name) for name in (*names, "")], np.int64)
    new = np.where(free, numbers[place], joined)
    before, _ = codes_of(tables.images["split"])
    return Outcome(tables.with_image_column("split", words(new, all_names)), touched=new != before, exact=True)
