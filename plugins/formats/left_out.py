"""What a writer could not hold, counted: one warning for each kind, with the first place it happened at."""

from __future__ import annotations

from dataclasses import dataclass, field

from contracts.job import JobWarning


@dataclass
class LeftOut:
    """``add`` as often as something is left out; ``warnings`` at the end."""

    _counts: dict[tuple[str, str], int] = field(default_factory=dict)
    _places: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, code: str, message: str, place: str, count: int = 1) -> None:
        """``message`` says what was left out, in the plural: ``labels of whole pictures have no place in VOC``."""
        key = (code, message)
        self._counts[key] = self._counts.get(key, 0) + count
        self._places.setdefault(key, place)

    def warnings(self) -> list[JobWarning]:
        return [
            JobWarning(code, f"{message} ({count} times, first at {self._places[code, message]})", self._places[code, message])
            for (code, message), count in self._counts.items()
        ]

    def take(self, other: LeftOut) -> None:
        """Everything that another one counted, too."""
        for (code, message), count in other._counts.items():
            self.add(code, message, other._places[code, message], count)
