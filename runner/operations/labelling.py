"""Operations on states, annotations, marks and tags: label-from, confirm, reject, unlabel, mark, tag."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.operations import Confirm, LabelFrom, Mark, Reject, Tag, Unlabel
from runner.dataset_files import reasons_text
from runner.operations.base import Given, Outcome, chosen, with_class_names
from runner.operations.selecting import one_of
from runner.tables import ANNOTATIONS, Mask, Tables, codes_of, concatenated, ordered, replaced, words


def labelled_from(given: Given, operation: LabelFrom) -> Outcome:
    """Proposals replace earlier proposals; a picture in which nothing was found is to be confirmed as empty."""
    tables, (predictions, model) = given.tables, given.sources.predictions(operation.job)
    rows = pc.index_in(predictions["asset_id"], value_set=tables.asset_ids)
    open_ = ~one_of(tables, "state", ("labeled",))
    here = np.asarray(rows.is_valid())
    owners = np.where(here, np.asarray(rows.fill_null(0)), 0).astype(np.int32)
    here &= open_[owners]
    touched = np.bincount(owners[here], minlength=len(tables)) > 0
    scores = np.asarray(predictions["score"].fill_null(0.0))
    found = here & np.asarray(predictions["class_name"].is_valid())
    kept = found & (scores >= operation.min_score)
    proposals = _proposals(predictions, owners, kept, model)
    remaining = tables.keep_annotations(~touched[tables.owners])
    result = ordered(remaining.images, concatenated([remaining.annotations, proposals]))
    result = with_class_names(with_state(result, touched, "to_be_confirmed"), given.canonical)
    if operation.hard_below is not None:
        doubtful = kept & (scores < operation.hard_below)
        result = _marked(result, np.bincount(owners[doubtful], minlength=len(tables)) > 0, Mark(where="true"))
    return Outcome(result, touched, facts={"model": model, "proposed": int(touched.sum())})


def _proposals(predictions: pa.Table, owners: Any, kept: Mask, model: str) -> pa.Table:
    """The predictions as annotations, whatever columns the file of an older version has."""
    count = int(kept.sum())
    table = predictions.filter(pa.array(kept))
    given = {name: table[name] for name in table.column_names}
    given["image"] = pa.array(owners[kept].astype(np.int32))
    given["annotated_by"] = words(np.zeros(count, np.int32), [model])
    given.setdefault("shape", words(np.zeros(count, np.int32), ["box"]))
    columns = [given[field.name] if field.name in given else pa.nulls(count, field.type) for field in ANNOTATIONS]
    return pa.Table.from_arrays([_cast(c, f.type) for c, f in zip(columns, ANNOTATIONS, strict=True)], schema=ANNOTATIONS)


def _cast(column: Any, kind: pa.DataType) -> Any:
    if column.type == kind:
        return column
    return column.cast(pa.string()).dictionary_encode() if pa.types.is_dictionary(kind) else column.cast(kind)


def with_state(tables: Tables, mask: Mask, state: str) -> Tables:
    codes, names = codes_of(tables.images["state"])
    all_names = list(dict.fromkeys([*names, state]))
    return tables.with_image_column("state", words(np.where(mask, all_names.index(state), codes), all_names))


def confirmed(given: Given, operation: Confirm) -> Outcome:
    mask = chosen(given, operation.assets, operation.where) & one_of(given.tables, "state", ("to_be_confirmed",))
    tables = with_state(given.tables, mask, "labeled")
    scores = pc.if_else(pa.array(mask[tables.owners]), pa.scalar(None, pa.float64()), tables.annotations["score"])
    return Outcome(Tables(tables.images, replaced(tables.annotations, "score", scores)), mask, facts={"confirmed": int(mask.sum())})


def rejected(given: Given, operation: Reject) -> Outcome:
    mask = chosen(given, operation.assets, operation.where) & one_of(given.tables, "state", ("to_be_confirmed",))
    return _emptied(given.tables, mask)


def unlabelled(given: Given, operation: Unlabel) -> Outcome:
    return _emptied(given.tables, chosen(given, operation.assets, operation.where))


def _emptied(tables: Tables, mask: Mask) -> Outcome:
    left = tables.keep_annotations(~mask[tables.owners])
    return Outcome(with_state(left, mask, "unlabeled"), mask)


def marked(given: Given, operation: Mark) -> Outcome:
    mask = chosen(given, operation.assets, operation.where)
    return Outcome(_marked(given.tables, mask, operation), mask)


def _marked(tables: Tables, mask: Mask, mark: Mark) -> Tables:
    coefficient = pa.scalar(mark.coefficient if mark.hard else None, pa.float64())
    values = {
        "hard": pa.scalar(mark.hard),
        "hard_coefficient": coefficient,
        "hard_reasons": pa.scalar(reasons_text(mark.reasons) if mark.hard else ""),
    }
    for name, value in values.items():
        tables = tables.with_image_column(name, pc.if_else(pa.array(mask), value, tables.images[name]))
    return tables


def tagged(given: Given, operation: Tag) -> Outcome:
    mask = chosen(given, operation.assets, operation.where)
    codes, texts = codes_of(given.tables.images["tags"].dictionary_encode())
    new = [_tags_text(text, operation.tags) for text in (*texts, None)]
    changed = np.array([*new], dtype=object)[codes]
    before = np.array([*texts, None], dtype=object)[codes]
    return Outcome(given.tables.with_image_column("tags", pa.array(np.where(mask, changed, before), pa.string())), mask)


def with_tag(tables: Tables, name: str, values: Iterable[str]) -> Tables:
    """Each picture with its value of the tag; an empty one removes it."""
    made: dict[tuple[str | None, str], str | None] = {}
    pairs = zip(tables.images["tags"].to_pylist(), values, strict=True)
    texts = [made[pair] if pair in made else made.setdefault(pair, _tags_text(pair[0], {name: pair[1]})) for pair in pairs]
    return tables.with_image_column("tags", pa.array(texts, pa.string()))


def _tags_text(text: str | None, tags: Any) -> str | None:
    """Equal sets of tags are one text."""
    new = {name: value for name, value in {**(json.loads(text) if text else {}), **tags}.items() if value}
    return json.dumps(new, sort_keys=True, ensure_ascii=False) if new else None
