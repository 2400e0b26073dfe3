"""The list of what was tolerated: one ``JobWarning`` for each kind of deviation, however often it occurred."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.job import JobWarning

_MAX_TEXT = 400


@dataclass
class _Tally:
    message: str
    place: str
    examples: list[str]
    count: int = 0


class Tolerances:
    """Collects deviations while a file is read. A hostile file makes it no longer than the number of codes times places."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], _Tally] = {}

    def add(self, code: str, message: str, place: str = "", example: str = "") -> None:
        """Count one deviation. The same code at the same place becomes one warning with the count and up to three examples."""
        tally = self._tallies.setdefault((code, place), _Tally(message, place, []))
        tally.count += 1
        if example and len(tally.examples) < 3 and example[:80] not in tally.examples:
            tally.examples.append(example[:80])

    def warnings(self) -> tuple[JobWarning, ...]:
        """One warning for each code and place, in the order they first occurred."""
        return tuple(JobWarning(code, _sentence(tally), tally.place) for (code, _), tally in self._tallies.items())


def shorten(texts: Iterable[object], limit: int = 5) -> str:
    """The first few texts for a message, and how many more there are."""
    items = [str(text)[:80] for text in texts]
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def printable(text: str, keep: str = "") -> str:
    """The image's own words may hold anything; what is kept of them is shown on terminals and stored as UTF-8."""
    return "".join(c if c.isprintable() or c in keep else "\N{REPLACEMENT CHARACTER}" for c in text)


def _sentence(tally: _Tally) -> str:
    times = f" ({tally.count} times)" if tally.count > 1 else ""
    such_as = f": {', '.join(tally.examples)}" if tally.examples else ""
    return printable(tally.message + times + such_as)[:_MAX_TEXT]
