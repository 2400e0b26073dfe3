"""Operations on how pictures look: group writes a tag, thin leaves the most redundant ones out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import RequestError
from contracts.operations import Group, Thin
from contracts.seams import Skip
from runner.operations.base import Given, Outcome
from runner.operations.labelling import with_tag
from runner.tables import Tables

if TYPE_CHECKING:
    from runner.analysis_files import Looks


def grouped(given: Given, operation: Group) -> Outcome:
    """Groups are numbered from 1, the largest first. A picture that cannot be read is in none."""
    from analysis.grouping import embeddings, group_pictures

    tables, looks = given.tables, given.sources.looks(given.tables)
    _refuse_too_many(operation.op, operation.groups, int(looks.known.sum()))
    points = embeddings(looks.thumbnails, looks.features, operation.features)
    numbers = group_pictures(points, operation.groups, seed=operation.seed)
    texts: NDArray[Any] = np.full(len(tables), "", object)
    texts[looks.known] = (numbers + 1).astype(str)
    facts = {"sizes": np.bincount(numbers).tolist()}
    everything = np.ones(len(tables), bool)
    return Outcome(with_tag(tables, operation.tag, texts), everything, notes=_unreadable(tables, looks, "is in no group"), facts=facts)


def thinned(given: Given, operation: Thin) -> Outcome:
    """Pictures that cannot be read stay: nothing says that they are redundant."""
    from analysis.grouping import embeddings, keep_representative

    tables, looks = given.tables, given.sources.looks(given.tables)
    if operation.groups is not None:
        _refuse_too_many(operation.op, operation.groups, int(looks.known.sum()))
    groups = "auto" if operation.groups is None else operation.groups
    mask = np.ones(len(tables), bool)
    mask[looks.known] = keep_representative(embeddings(looks.thumbnails), operation.ratio, groups, seed=operation.seed)
    return Outcome(tables.keep(mask), notes=_unreadable(tables, looks, "stays"), facts={"dropped": int((~mask).sum())})


def _refuse_too_many(op: str, groups: int, pictures: int) -> None:
    if groups > pictures:
        raise RequestError(
            f"{op}: {groups} groups of {pictures} pictures; there cannot be more groups than pictures",
            hint="Ask for fewer groups.",
            field="groups",
        )


def _unreadable(tables: Tables, looks: Looks, consequence: str) -> tuple[Skip, ...]:
    names = tables.images["name"].to_pylist()
    rows = np.flatnonzero(~looks.known).tolist()
    ids = tables.asset_ids
    return tuple(
        Skip(names[row], f"cannot be read and {consequence}: {looks.failures.get(ids[row].as_py(), '')}", "mended") for row in rows
    )
