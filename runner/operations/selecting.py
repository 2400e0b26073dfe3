"""Operations that keep some of the pictures: filter, draw, exclude, top, deduplicate."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import RequestError
from contracts.operations import Deduplicate, Draw, Exclude, Filter, TakeTop
from contracts.results import MinedPicture
from runner.dataset_files import reasons_text
from runner.operations.base import Given, Outcome, by_chance, members, strata
from runner.operations.expression import choose, class_counts, class_named, tag_values
from runner.tables import IMAGES, Mask, Tables, codes_of


def filtered(given: Given, operation: Filter) -> Outcome:
    tables = given.tables
    mask = _by_columns(tables, operation) & _by_class(given, operation)
    if operation.assets:
        mask &= members(tables, operation.assets)
    if operation.where:
        mask &= choose(tables, operation.where, given.canonical)
    kept = tables.keep(mask)
    if not operation.only_classes:
        return Outcome(kept)
    wanted = {class_named(name, given.canonical) for name in operation.classes}
    codes, names = codes_of(kept.annotations["class_name"])
    staying = np.array([name in wanted for name in names], bool)[codes] if names else np.zeros(0, bool)
    touched = np.bincount(kept.owners[~staying], minlength=len(kept)) > 0
    return Outcome(kept.keep_annotations(staying), touched)


def _by_columns(tables: Tables, operation: Filter) -> Mask:
    mask = np.ones(len(tables), bool)
    for column, wanted in (("split", operation.splits), ("state", operation.states)):
        if wanted:
            mask &= one_of(tables, column, wanted)
    for column in ("width", "height"):
        mask &= _between(tables.image_column(column), getattr(operation, f"min_{column}"), getattr(operation, f"max_{column}"))
    if operation.min_annotations is not None or operation.max_annotations is not None:
        mask &= _between(tables.counts(), operation.min_annotations, operation.max_annotations)
    if operation.hard is not None:
        mask &= tables.image_column("hard") == operation.hard
    for name, value in operation.tags.items():
        mask &= tag_values(tables, name) == value
    if operation.names:
        mask &= _named(tables, operation.names)
    return mask & _added(tables, operation)


def one_of(tables: Tables, column: str, wanted: Sequence[str]) -> Mask:
    """The pictures whose word in the column is one of these."""
    codes, known = codes_of(tables.images[column])
    return np.asarray(np.array([*(word in wanted for word in known), False])[codes])


def _between(values: Any, least: Any, most: Any) -> Mask:
    mask = np.ones(len(values), bool)
    if least is not None:
        mask &= values >= least
    return mask if most is None else mask & (values <= most)


def _named(tables: Tables, patterns: Sequence[str]) -> Mask:
    fits = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns)).match
    return np.array([bool(fits(name)) or bool(fits(name.rpartition("/")[2])) for name in tables.images["name"].to_pylist()], bool)


def _added(tables: Tables, operation: Filter) -> Mask:
    column, mask = tables.images["added_at"], np.ones(len(tables), bool)
    for compare, field in ((pc.greater_equal, "added_after"), (pc.less, "added_before")):
        if text := getattr(operation, field):
            moment = pa.scalar(_moment(text, field), column.type)
            mask &= np.asarray(pc.fill_null(compare(column, moment), False))
    return mask


def _moment(text: str, field: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise RequestError(f"filter: {field}: {text[:60]!r} is no time", hint="Write 2026-01-31 or 2026-01-31T12:00:00+00:00.") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _by_class(given: Given, operation: Filter) -> Mask:
    tables = given.tables
    mask = np.ones(len(tables), bool)
    present = [class_counts(tables, class_named(name, given.canonical)) > 0 for name in operation.classes]
    if present:
        mask &= np.logical_and.reduce(present) if operation.all_classes else np.logical_or.reduce(present)
    for name in operation.without:
        mask &= class_counts(tables, class_named(name, given.canonical)) == 0
    if operation.annotated_by:
        codes, names = codes_of(tables.annotations["annotated_by"])
        by_them = np.array([*(name in operation.annotated_by for name in names), False])[codes]
        mask &= np.bincount(tables.owners[by_them], minlength=len(tables)) > 0
    return mask


def drawn(given: Given, operation: Draw) -> Outcome:
    tables = given.tables
    count = operation.count if operation.count is not None else max(1, int(len(tables) * (operation.fraction or 0) + 0.5))
    if count > len(tables):
        raise RequestError(f"draw: {count} pictures are asked for, the version has {len(tables)}", hint="Ask for fewer.")
    layers = strata(tables) if operation.stratify else np.zeros(len(tables), np.int64)
    order = np.lexsort((by_chance(tables, operation.seed), layers))
    mask = np.zeros(len(tables), bool)
    mask[order[evenly(len(tables), count)]] = True
    return Outcome(tables.keep(mask))


def evenly(total: int, count: int) -> Mask:
    """``count`` of ``total`` places, spread so that every stretch has its share of them, give or take one."""
    steps = (np.arange(total + 1, dtype=np.int64) * count + total // 2) // max(total, 1)
    return np.asarray(np.diff(steps) > 0)


def excluded(given: Given, operation: Exclude) -> Outcome:
    if not operation.references and not operation.assets:
        raise RequestError("exclude: nothing is named", hint="Name versions or assets to leave out.")
    mask, inputs = np.ones(len(given.tables), bool), []
    for reference in operation.references:
        other = given.sources.version(reference)
        inputs.append(other.reference)
        mask &= given.tables.rows_in(other.tables) < 0
    if operation.assets:
        mask &= ~members(given.tables, operation.assets)
    return Outcome(given.tables.keep(mask), inputs=tuple(inputs))


def top(given: Given, operation: TakeTop) -> Outcome:
    ranking = pa.array(given.sources.ranking(operation.job), pa.string())
    known = ranking.filter(pc.is_in(ranking, value_set=given.tables.asset_ids))
    if not len(known):
        raise RequestError(
            f"none of the pictures that job {operation.job} ranked is in this version", hint="Name the version that it mined."
        )
    mask = np.asarray(pc.is_in(given.tables.asset_ids, value_set=known[: operation.count]))
    kept, facts = given.tables.keep(mask), {"ranked": len(ranking), "ranked_here": len(known)}
    mined = given.sources.mined(operation.job)
    return _with_marks(kept, mined, facts) if mined else Outcome(kept, facts=facts)


def _with_marks(tables: Tables, mined: Mapping[str, MinedPicture], facts: Mapping[str, Any]) -> Outcome:
    """What the mining said of a picture becomes its marks; of whom it said nothing, those stay."""
    columns = {name: tables.images[name].to_pylist() for name in ("hard", "hard_coefficient", "hard_reasons")}
    touched = np.zeros(len(tables), bool)
    for row, asset in enumerate(tables.asset_ids.to_pylist()):
        picture = mined.get(asset)
        if picture is not None:
            marks = (bool(picture.hard), picture.coefficient, reasons_text(picture.reasons))
            touched[row] = marks != tuple(column[row] for column in columns.values())
            for column, mark in zip(columns.values(), marks, strict=True):
                column[row] = mark
    for name, column in columns.items():
        tables = tables.with_image_column(name, pa.array(column, IMAGES.field(name).type))
    return Outcome(tables, touched, exact=True, facts={**facts, "hard": sum(columns["hard"])})


def deduplicated(given: Given, operation: Deduplicate) -> Outcome:
    """Of each group the labelled one, of those the one with more pixels, of those the first by id."""
    from analysis.near_duplicates import groups

    tables = given.tables
    group = np.asarray(groups(given.sources.hashes(tables), operation.distance))
    pixels = tables.image_column("width").astype(np.int64) * tables.image_column("height")
    order = np.lexsort((-pixels, ~one_of(tables, "state", ("labeled",)), group))
    first = np.ones(len(order), bool)
    first[1:] = group[order][1:] != group[order][:-1]
    mask = np.zeros(len(tables), bool)
    mask[order[first]] = True
    return Outcome(tables.keep(mask), facts={"groups": int(first.sum())})
