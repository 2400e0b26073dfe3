"""What is found out once for several questions: a dozen formats ask what lies in one folder, and each would list it anew.

Only in a block of ``sharing`` is anything kept, and only until the block ends; what is outside, in other threads or in other blocks finds
everything out for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")
_kept: ContextVar[dict[Hashable, Any] | None] = ContextVar("sluice_shared", default=None)


@contextmanager
def sharing() -> Iterator[None]:
    """For a block in which what is asked about does not change, such as the reading of one source folder."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def shared(question: Hashable, find_out: Callable[[], _Answer]) -> _Answer:
    """The answer, which nobody may change: that of before in the same block, else found out now. An error is not kept."""
    kept = _kept.get()
    if kept is None:
        return find_out()
    if question not in kept:
        kept[question] = find_out()
    answer: _Answer = kept[question]
    return answer
