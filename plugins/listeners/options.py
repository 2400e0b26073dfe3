"""The options of a listener, as its section of the settings gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from contracts.errors import ConfigurationError

_LONGEST_TIMEOUT_S = 300.0


class Options:
    """Takes options one by one; ``refuse_rest`` names those that nobody took. Every refusal is a ``ConfigurationError`` naming the option."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = {name: value.strip() for name, value in given.items()}
        self._known: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        """The option; without a default it must be there and not be empty."""
        self._known.append(name)
        value = self._given.get(name, "") or default
        if value is None:
            raise ConfigurationError(f"the option {name} is missing", hint=f"Add a line `{name} = ...` to its section.", option=name)
        return value

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        value = self.text(name, default)
        if value not in choices:
            raise ConfigurationError(f"the option {name} is {value!r}", hint=f"Known: {', '.join(choices)}.", option=name)
        return value

    def number(self, name: str, default: float, lowest: float, highest: float) -> float:
        value = self.text(name, str(default))
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not lowest <= number <= highest:
            raise ConfigurationError(f"the option {name} is {value!r}", hint=f"A number from {lowest:g} to {highest:g}.", option=name)
        return number

    def timeout_s(self) -> float:
        return self.number("timeout_s", 30.0, 0.1, _LONGEST_TIMEOUT_S)

    def file(self, name: str) -> Path | None:
        """A file that can be read, or None when the option is not given."""
        value = self.text(name, "")
        if not value:
            return None
        path = Path(value).expanduser()
        try:
            path.open("rb").close()
        except OSError as error:
            raise ConfigurationError(
                f"the option {name}: {path} cannot be read: {error.strerror}", hint="Name a file that the service may read.", option=name
            ) from error
        return path

    def secret_file(self, name: str) -> str:
        """The content of a file without blanks around it; '' when the option is not given. It never appears in an error."""
        path = self.file(name)
        if path is None:
            return ""
        secret = path.read_text(encoding="utf-8", errors="replace").strip()
        if not secret:
            raise ConfigurationError(f"the option {name}: {path} is empty", hint="Write the secret into it, on one line.", option=name)
        return secret

    def refuse_rest(self) -> None:
        for name in self._given:
            if name not in self._known:
                raise ConfigurationError(f"there is no option {name!r}", hint=f"Known: {', '.join(sorted(self._known))}.", option=name)
