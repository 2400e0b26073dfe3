"""Tells whether anything that a request is checked against has changed: cheaper to ask than to check everything again."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from registry.prepared import Prepared
from registry.tables import DatasetRow, ImageRow, LinkRow, ModelRow, VersionRow


def catalogue_stamp(session: Session, model: str | None = None) -> tuple[Any, ...]:
    """Equal for two moments between which no image, link, dataset version or model was added, changed or removed.

    Of models only the one that is named can change.
    """
    row = _STAMP.run(session).one()
    recommended = _RECOMMENDED.run(session, model=model).scalar() if model else None
    return (*row, recommended)


def _of(expression: Any, table: Any) -> Any:
    return select(expression).select_from(table).scalar_subquery()


_RECOMMENDED = Prepared(select(ModelRow.recommended).where(ModelRow.name == bindparam("model")))
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
    )
)
