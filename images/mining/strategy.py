"""What every strategy is: a name, what it needs, its parameters, and one verb that ranks a pool."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mining.errors import MiningError
from mining.pool import Pool
from mining.selection import Ranking

DETECTION, CLASSIFICATION = "detection", "classification"


@dataclass(frozen=True)
class Parameter:
    """A setting of a strategy: its default, what it does, and the values allowed (a closed list, or a range)."""

    default: Any
    help: str
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None

    def check(self, name: str, value: Any) -> Any:
        """The value, of the default's type. Raises MiningError with the name, the value and what is allowed."""
        if isinstance(self.default, bool) or self.choices:
            if value in (self.choices or (False, True)) and isinstance(value, type(self.default)):
                return value
            raise MiningError(f"parameter {name}: {value!r} is not one of {', '.join(map(repr, self.choices or (False, True)))}")
        return self._number(name, value)

    def _number(self, name: str, value: Any) -> Any:
        kind = type(self.default)
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not isinstance(value, (int, float)) or (kind is int and not whole):
            raise MiningError(f"parameter {name}: {value!r} is not {'a whole number' if kind is int else 'a number'}")
        low, high = (-float("inf") if self.least is None else self.least), (float("inf") if self.most is None else self.most)
        if not low <= value <= high:
            raise MiningError(f"parameter {name}: {value!r} is outside [{low:g}, {high:g}]")
        return kind(value)


@dataclass
class Request:
    """One call of a strategy: the pool (rows in the order of their ids, checked), how many to pick, and where notes for the report go."""

    pool: Pool
    budget: int
    seed: int
    parameters: Mapping[str, Any]
    #: Sentences about what was left out and why.
    skipped: list[str] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)


class Strategy(ABC):
    """A way to rank candidates.

    ``needs``: of "predictions" (boxes, or class probabilities of pictures), "probabilities" (a class distribution per box or picture),
    "features" (a vector per box), "embeddings" (per picture), "views", "class_maps", "labelled", "hashes", "order"; ``uses`` are those that are
    taken where they are there. ``rank`` is called with the needs at hand; it keeps no state, is deterministic for a seed, and ranks every row
    once. ``for_use`` is False for negative controls.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    uses: ClassVar[frozenset[str]] = frozenset()
    source: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]] = (DETECTION, CLASSIFICATION)
    parameters: ClassVar[Mapping[str, Parameter]] = {}
    #: Defaults of this strategy for the parameters that every strategy has (``mining.selecting.SHARED``).
    shared: ClassVar[Mapping[str, Any]] = {}
    for_use: ClassVar[bool] = True
    #: Whether ``rank`` itself leaves near-duplicates out; else that is done before.
    removes_duplicates: ClassVar[bool] = False

    def needs_of(self, _kind: str) -> frozenset[str]:
        """What a pool of this kind must have."""
        return self.needs

    @abstractmethod
    def rank(self, request: Request) -> Ranking:
        """Every row of the request's pool once, best first, at least the first ``budget`` with reasons. The pool holds at least one."""
