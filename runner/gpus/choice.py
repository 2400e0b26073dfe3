"""Which of the free devices a job gets: those closest to each other, leaving the others as close together as can be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TypeAlias

from contracts.gpu import Gpu, Snapshot, pair

#: Up to so many free devices every choice is looked at; beyond, a group is grown from each device.
_MOST_ENUMERATED = 16
_PER_LINK = 10
_BY_LEVEL = {0: 7, 10: 6, 20: 5, 30: 4, 40: 2, 50: 1}
_SAME_CARD = 6
_UNKNOWN_PAIR = 1

Scores: TypeAlias = list[list[int]]


def choose(free: Sequence[Gpu], count: int, snapshot: Snapshot, *, mixed: bool = False) -> tuple[str, ...]:
    """The uuids of ``count`` of these devices in the order of their bus, () when there are too few.

    All of one model and size, the smallest that has enough; ``mixed`` allows different ones where no model has. The same devices, however they
    are ordered, give the same choice.
    """
    for group in groups_of(free, mixed=mixed):
        if len(group) >= count:
            return tuple(gpu.uuid for gpu in _best(group, count, snapshot))
    return ()


def order(gpu: Gpu) -> tuple[str, int, str]:
    """By bus address, the one order that a reboot does not change; then as they are listed."""
    return gpu.pci, gpu.index, gpu.uuid


def groups_of(free: Sequence[Gpu], *, mixed: bool) -> Iterator[list[Gpu]]:
    """The devices that one job may have together, by model and size; at the end all of them when they may be ``mixed``.

    Small ones first, so that large cards are left for whoever needs them.
    """
    ordered = sorted(free, key=lambda gpu: (*_model(gpu), *order(gpu)))
    for _, group in groupby(ordered, key=_model):
        yield list(group)
    if mixed:
        yield sorted(free, key=order)


def _model(gpu: Gpu) -> tuple[int, str, str]:
    return gpu.total_bytes, gpu.name, gpu.profile


def _best(gpus: list[Gpu], count: int, snapshot: Snapshot) -> list[Gpu]:
    if count == len(gpus):
        return gpus
    scores = [[0 if one is other else score(one, other, snapshot) for other in gpus] for one in gpus]
    if len({value for i, row in enumerate(scores) for j, value in enumerate(row) if i != j}) <= 1:
        return gpus[:count]  # all pairs are alike
    find = _enumerated if len(gpus) <= _MOST_ENUMERATED else _grown
    return [gpus[position] for position in find(scores, count)]


def score(one: Gpu, other: Gpu, snapshot: Snapshot) -> int:
    """How close two devices are, higher is closer. A pair of which nothing is known is no obstacle, only far."""
    if one.kind == "mig" and one.parent_uuid == other.parent_uuid:
        return _SAME_CARD
    key = pair(one.parent_uuid or one.uuid, other.parent_uuid or other.uuid)
    links = snapshot.nvlinks.get(key, 0)
    return links * _PER_LINK if links else _BY_LEVEL.get(snapshot.topology.get(key, -1), _UNKNOWN_PAIR)


def _enumerated(scores: Scores, count: int) -> tuple[int, ...]:
    """The best of all choices; of equal ones the first in the order of the bus."""
    touching = [sum(row) for row in scores]
    best: tuple[int, int] | None = None
    chosen: tuple[int, ...] = ()
    for positions, inside in _choices(scores, count, (), 0, 0):
        # What is left scores everything less what touches the choice, which is the sum of its rows less the pairs inside, counted twice.
        key = (inside, inside - sum(touching[position] for position in positions))
        if best is None or key > best:
            best, chosen = key, positions
    return chosen


def _choices(scores: Scores, count: int, chosen: tuple[int, ...], inside: int, first: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """Every choice in the order of the bus, with the score of its pairs, which grows with it."""
    if not count:
        yield chosen, inside
        return
    for position in range(first, len(scores) - count + 1):
        row = scores[position]
        yield from _choices(scores, count - 1, (*chosen, position), inside + sum(row[other] for other in chosen), position + 1)


def _grown(scores: Scores, count: int) -> tuple[int, ...]:
    """From each device the group that grows by the closest next one; the best of these groups."""
    touching = [sum(row) for row in scores]
    return max(
        (_grow(scores, touching, start, count) for start in range(len(scores))),
        key=lambda group: (_inside(scores, group), _inside(scores, group) - sum(touching[one] for one in group), [-one for one in group]),
    )


def _grow(scores: Scores, touching: Sequence[int], start: int, count: int) -> tuple[int, ...]:
    group, gains = [start], list(scores[start])
    while len(group) < count:
        rest = (position for position in range(len(scores)) if position not in group)
        nearest = max(rest, key=lambda position: (gains[position], -touching[position], -position))
        group.append(nearest)
        gains = [gain + more for gain, more in zip(gains, scores[nearest], strict=True)]
    return tuple(sorted(group))


def _inside(scores: Scores, group: Iterable[int]) -> int:
    members = list(group)
    return sum(scores[one][other] for place, one in enumerate(members) for other in members[:place])
