"""The one count of a name: every run of a named job and every imported model takes the next number, so that ``first@V0003`` is one thing for ever.

The model that a job leaves has the job's own number; what failed leaves a gap among the models. A number is never given again, also when what
had it was removed.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from registry.prepared import Prepared
from registry.tables import VersionCountRow

_COUNTS: Any = VersionCountRow.__table__
# Locked where the database can: two programs that take a number at once get different ones.
_NEWEST = Prepared(select(_COUNTS.c.newest).where(_COUNTS.c.name == bindparam("of")).with_for_update())
_ADD = Prepared(_COUNTS.insert())
_SET = Prepared(_COUNTS.update().where(_COUNTS.c.name == bindparam("of")).values(newest=bindparam("newest")))
_VERSION = re.compile(r"[Vv](\d{1,9})")


def newest_version(session: Session, name: str) -> int:
    """The highest number that the name ever gave; 0 for a name that was never used. For writers only."""
    return int(_NEWEST.run(session, of=name).scalar() or 0)


def take_version(session: Session, name: str) -> int:
    """The next number of the name, for what the caller stores in the same write transaction."""
    number = newest_version(session, name) + 1
    note_version(session, name, number)
    return number


def note_version(session: Session, name: str, number: int) -> None:
    """Numbers up to this one are not given again."""
    newest = newest_version(session, name)
    if not newest:
        _ADD.run(session, name=name, newest=number)
    elif number > newest:
        _SET.run(session, of=name, newest=number)


def version_text(number: int) -> str:
    """``V0002``."""
    return f"V{number:04d}"


def versioned(name: str, number: int) -> str:
    """``first@V0002``."""
    return f"{name}@{version_text(number)}"


def split_version(reference: str) -> tuple[str, int | None]:
    """``first@V0002`` as name and number; None where no number is named."""
    name, _, version = reference.partition("@")
    match = _VERSION.fullmatch(version)
    return (name, int(match[1])) if match else (reference, None)
