"""The classes of a dataset by reference: what each is called now, and what it was called before or is called elsewhere.

Versions never change: one that was made before a class was renamed goes on with the old name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, DatasetError
from registry.tables import DatasetClassRow, DatasetRow

_LONGEST_NAME = 200
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class DatasetClass:
    """One class. Names and aliases are stripped, lower-case and unique within a dataset; ``attributes`` are values of JSON, such as ``color``."""

    name: str
    aliases: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """What it is called now, and what else."""
        return (self.name, *self.aliases)

    def named_in(self, class_names: Iterable[str]) -> str:
        """What a version calls it, which may be older than its present name; '' when it does not have it."""
        return next((name for name in class_names if name in self.names), "")


def list_classes(session: Session, dataset: str) -> list[DatasetClass]:
    """In the order in which they came; [] for a dataset that is not there."""
    query = select(DatasetClassRow).join(DatasetRow, DatasetRow.id == DatasetClassRow.dataset_id).where(DatasetRow.name == dataset)
    rows = session.scalars(query.order_by(DatasetClassRow.position, DatasetClassRow.id))
    return [DatasetClass(row.name, tuple(row.aliases), dict(row.attributes)) for row in rows]


def names_by_alias(classes: Iterable[DatasetClass]) -> dict[str, str]:
    """What every known name means now; each class means itself."""
    return {name: known.name for known in classes for name in known.names}


def names_in(class_names: Iterable[str], classes: Iterable[DatasetClass]) -> dict[str, str]:
    """What every known name is called in a version with these ``class_names``, which may be older than a renaming; each of them means itself."""
    meant = names_by_alias(classes)
    own = list(class_names)
    called = {meant.get(name, name): name for name in own}
    return {**{name: called.get(now, now) for name, now in meant.items()}, **{name: name for name in own}}


def put_classes(session: Session, dataset: str, classes: Iterable[DatasetClass]) -> None:
    """Make these the classes of the dataset. Raises ``ConflictError`` when two of them share a name, ``DatasetError`` for one that is none."""
    kept = list(classes)
    _check(kept)
    dataset_id = session.scalars(select(DatasetRow.id).where(DatasetRow.name == dataset)).one()
    session.execute(delete(DatasetClassRow).where(DatasetClassRow.dataset_id == dataset_id))
    session.add_all(
        DatasetClassRow(
            dataset_id=dataset_id,
            position=position,
            name=kept_class.name,
            aliases=list(kept_class.aliases),
            attributes=dict(kept_class.attributes),
        )
        for position, kept_class in enumerate(kept)
    )
    session.flush()


def extend_class(session: Session, dataset: str, name: str, aliases: Iterable[str], color: str | None) -> None:
    """More aliases and another colour for a class, which is added when it is new. Raises as ``put_classes``."""
    classes = list_classes(session, dataset)
    canonical = names_by_alias(classes)
    called = canonical.get(name.strip().lower()) or check_class_name(name)
    former = next((known for known in classes if known.name == called), DatasetClass(called))
    more = [check_class_name(alias) for alias in aliases]
    if color is not None and not _COLOR.fullmatch(color):
        raise DatasetError(f"{color[:40]!r} is no colour", hint="Write it as #rrggbb.")
    attributes = {**former.attributes, **({"color": color.lower()} if color else {})}
    extended = DatasetClass(called, tuple(dict.fromkeys([*former.aliases, *(alias for alias in more if alias != called)])), attributes)
    put_classes(session, dataset, [extended if known is former else known for known in classes] + [extended] * (former not in classes))


def check_class_name(name: str) -> str:
    """The name stripped and lower-case. Raises ``DatasetError``."""
    cleaned = name.strip().lower()
    if not cleaned or len(cleaned) > _LONGEST_NAME or not cleaned.isprintable():
        raise DatasetError(f"{name[:60]!r} cannot be the name of a class", hint=f"Use 1 to {_LONGEST_NAME} printable characters.")
    return cleaned


def _check(classes: list[DatasetClass]) -> None:
    owners: dict[str, str] = {}
    for known in classes:
        for name in known.names:
            check_class_name(name)
            owner = owners.setdefault(name, known.name)
            if owner != known.name:
                raise ConflictError(f"both {owner!r} and {known.name!r} are called {name!r}", hint="A name means one class of a dataset.")
