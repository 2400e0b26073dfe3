"""Tells whether anything that a request is checked against has changed: cheaper to ask than to check everything again."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from registry.prepared import Prepared
from registry.tables import DatasetRow, ImageRow, LinkRow, ModelRow, PredictionRow, VersionRow
from registry.versions import split_version


def catalogue_stamp(session: Session, model: str | None = None) -> tuple[Any, ...]:
    """Equal for two moments between which no image, link, dataset version, model or prediction was added, changed or removed.

    Of models only the one that is named can change.
    """
    row = _STAMP.run(session).one()
    if model is None:
        return (*row,)
    name, version = split_version(model)
    chosen = _NEWEST.run(session, name=name) if version is None else _CHOSEN.run(session, name=name, version=version)
    return (*row, *(chosen.first() or ()))


def _of(expression: Any, table: Any) -> Any:
    return select(expression).select_from(table).scalar_subquery()


_MODEL = select(ModelRow.id, ModelRow.recommended).where(ModelRow.name == bindparam("name"))
_NEWEST = Prepared(_MODEL.order_by(ModelRow.version.desc()).limit(1))
_CHOSEN = Prepared(_MODEL.where(ModelRow.version == bindparam("version")))
_STAMP = Prepared(
    select(
        _of(func.count(), ImageRow),
        _of(func.max(ImageRow.updated_at), ImageRow),
        _of(func.count(), LinkRow),
        _of(func.max(LinkRow.id), LinkRow),
        _of(func.count(), VersionRow),
        _of(func.max(VersionRow.id), VersionRow),
        _of(func.sum(DatasetRow.current_number * DatasetRow.id), DatasetRow),
        _of(func.count(), ModelRow),
        _of(func.max(ModelRow.id), ModelRow),
        _of(func.count(), PredictionRow),
        _of(func.max(PredictionRow.id), PredictionRow),
    )
)
