"""What each Xid error does to a card: a table, and a file of the site's that overrides single lines of it."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from contracts.errors import ConfigurationError
from runner.gpus.taints import Effect

_SECTION = "xid"
_UNKNOWN = "unknown"
_FOLLOWS = "follows"
_NUMBERS = re.compile(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?")
_MOST_NUMBERS = 10_000


@dataclass(frozen=True)
class Rule:
    """``follows``: only where no other Xid of the card came shortly before."""

    effect: Effect
    meaning: str = ""
    follows: bool = False


@dataclass(frozen=True)
class XidPolicy:
    """By number; ``unknown`` for all others."""

    rules: Mapping[int, Rule]
    unknown: Rule

    @classmethod
    def load(cls, overrides: Path | None = None) -> XidPolicy:
        """The built-in table under the site's file. Raises ``ConfigurationError`` with file and line's key."""
        rules = _parse(files("runner.gpus").joinpath("xid.cfg").read_text(encoding="utf-8"), "xid.cfg")
        if overrides is not None:
            rules |= _parse(_read(overrides), str(overrides))
        return cls({number: rule for number, rule in rules.items() if number >= 0}, rules[-1])

    def rule(self, xid: int) -> Rule:
        return self.rules.get(xid, self.unknown)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the Xid policy {file} cannot be read: {error}", hint="Correct the setting xid_policy.") from error


def _parse(text: str, name: str) -> dict[int, Rule]:
    """Rules by number; -1 is the rule for unknown ones."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text, name)
    except configparser.Error as error:
        raise ConfigurationError(f"the Xid policy cannot be read: {error}", hint=_HINT) from error
    if parser.sections() != [_SECTION]:
        raise ConfigurationError(f"{name} has the sections {parser.sections()}, not one section [{_SECTION}]", hint=_HINT)
    return {number: _rule(value, key, name) for key, value in parser.items(_SECTION) for number in _numbers(key, name)}


def _numbers(key: str, name: str) -> range:
    if key == _UNKNOWN:
        return range(-1, 0)
    match = _NUMBERS.fullmatch(key)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
    if not first <= last < _MOST_NUMBERS:
        raise ConfigurationError(f"{name}: {key!r} is no number of an Xid", hint=_HINT, key=key)
    return range(first, last + 1)


def _rule(value: str, key: str, name: str) -> Rule:
    word, _, meaning = (part.strip() for part in value.partition(","))
    if word == _FOLLOWS:
        return Rule(Effect.LOOK, meaning, follows=True)
    known = [str(effect) for effect in Effect if effect is not Effect.DRAIN]
    if word not in known:
        raise ConfigurationError(f"{name}: Xid {key} has the effect {word!r}", hint=f"Known: {', '.join([*known, _FOLLOWS])}.", key=key)
    return Rule(Effect(word), meaning)


_HINT = "Write lines `number = effect, meaning` under [xid]; see docs/notes/gpus.md."
