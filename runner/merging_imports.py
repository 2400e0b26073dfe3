"""Adds what a source holds to what a version has, for imports that keep what is there."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runner.tables import ANNOTATIONS, IMAGES, Tables, concatenated, ordered, replaced


def added_to(former: Tables, source: Tables) -> Tables:
    """What the former version has, with every picture that is new in the source and what the source says anew of the others.

    Nothing goes: a picture that is in both takes the annotations, state and marks of the source when the source has any annotations or marks
    of it, else it stays as it is; it stays in its split unless the source names one. Names and times of what was there stay.
    """
    old_rows = pc.index_in(source.asset_ids, value_set=former.asset_ids)
    source = _kept_splits(former, source, old_rows)
    fresh = np.asarray(old_rows.is_null())
    telling = fresh | _says_something(source)
    taken, silent = source.keep(telling), source.keep(~telling)
    replaced_ids = taken.asset_ids.filter(pa.array(~fresh[telling]))
    stays = np.asarray(pc.invert(pc.is_in(former.asset_ids, value_set=replaced_ids)))
    return _together(_named_like(_in_splits_of(former.keep(stays), silent), former), _named_like(taken, former))


def _kept_splits(former: Tables, source: Tables, old_rows: pa.Array) -> Tables:
    """A source that names no split leaves a picture in the split that it is in."""
    said = source.images["split"].cast(pa.string()).combine_chunks()
    before = former.images["split"].cast(pa.string()).combine_chunks().take(old_rows)
    splits = pc.if_else(pc.equal(said, ""), pc.fill_null(before, ""), said)
    return source.with_image_column("split", splits.cast(IMAGES.field("split").type))


def _in_splits_of(kept: Tables, silent: Tables) -> Tables:
    """The pictures that stay as they are, in the split that the source has them in."""
    rows = pc.index_in(kept.asset_ids, value_set=silent.asset_ids)
    now = silent.images["split"].cast(pa.string()).combine_chunks().take(rows)
    splits = pc.coalesce(now, kept.images["split"].cast(pa.string()).combine_chunks())
    return kept.with_image_column("split", splits.cast(IMAGES.field("split").type))


def _says_something(source: Tables) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which pictures the source says more of than that they are there."""
    images = source.images
    labelled = source.image_column("state") != "unlabeled"
    marked = np.asarray(images["hard"]) | np.asarray(images["hard_coefficient"].is_valid()) | np.asarray(images["tags"].is_valid())
    return np.asarray(labelled | marked | (source.counts() > 0), bool)


def _named_like(tables: Tables, former: Tables) -> Tables:
    names = former.images["name"].take(pc.index_in(tables.asset_ids, value_set=former.asset_ids))
    return tables.with_image_column("name", pc.coalesce(names, tables.images["name"]))


def _together(one: Tables, other: Tables) -> Tables:
    moved = replaced(other.annotations, "image", pa.array(other.owners + np.int32(len(one)), ANNOTATIONS.field("image").type))
    return ordered(concatenated([one.images, other.images]), concatenated([one.annotations, moved]))
