"""The settings: one frozen record, read once by a door.

Order: the door's own options > environment ``SLUICE_<NAME>`` > ``<home>/sluice.cfg`` > ``default.cfg`` beside this file, which lists
and explains every setting. A key that no setting has is refused, so that a misspelt one is not silently ignored.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path

from contracts.errors import ConfigurationError

_SECTION = "sluice"


@dataclass(frozen=True)
class Settings:
    """Every setting with its final value; ``default.cfg`` says what each means."""

    home: Path
    engine: str
    gpus: str
    database: str
    poll_interval_s: float
    stop_grace_s: float
    memory_fraction: float
    pids_limit: int
    gpu_wait_s: float
    engine_silence_s: float
    log_tail_lines: int
    val_fraction: float

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.home / 'sluice.db'}"


def load_settings(overrides: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process. ``overrides`` are a door's options, by setting name. Raises ``ConfigurationError``."""
    environ = os.environ if environ is None else environ
    values = _parse(files("runner").joinpath("default.cfg").read_text(encoding="utf-8"), "default.cfg")
    over = {**_from_environment(environ), **(overrides or {})}
    home = Path(over.get("home") or values["home"]).expanduser().absolute()
    config = home / "sluice.cfg"
    if config.is_file():
        values |= _known(_parse(config.read_text(encoding="utf-8"), str(config)), values, str(config))
    values |= _known(over, values, "the command line or environment")
    return _typed(values | {"home": str(home)})


def environment_of(settings: Settings) -> dict[str, str]:
    """The ``SLUICE_*`` variables that give another process the same settings."""
    return {f"SLUICE_{field.name.upper()}": str(getattr(settings, field.name)) for field in fields(Settings)}


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    # Only names of settings: other SLUICE_ variables belong to plugins and scripts.
    names = {f"SLUICE_{field.name.upper()}": field.name for field in fields(Settings)}
    return {names[key]: value for key, value in environ.items() if key in names}


def _parse(text: str, place: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text, place)
        return dict(parser[_SECTION])
    except (configparser.Error, KeyError) as error:
        raise ConfigurationError(
            f"{place} cannot be read: {error}", hint=f"It needs a section [{_SECTION}] with lines `name = value`."
        ) from error


def _known(values: Mapping[str, str], defaults: Iterable[str], place: str) -> dict[str, str]:
    known = sorted(defaults)
    for name in values:
        if name not in known:
            raise ConfigurationError(f"{place}: there is no setting {name!r}", hint=f"Known: {', '.join(known)}.", setting=name)
    return dict(values)


def _typed(values: Mapping[str, str]) -> Settings:
    converters = {"Path": Path, "str": str, "int": int, "float": float}
    typed = {}
    for field in fields(Settings):
        try:
            typed[field.name] = converters[str(field.type)](values[field.name])
        except ValueError as error:
            raise ConfigurationError(
                f"the setting {field.name} is {values[field.name]!r}, which is not {'a whole number' if field.type == 'int' else 'a number'}",
                hint="Correct it where it is set: option, SLUICE_ variable or sluice.cfg.",
            ) from error
    return Settings(**typed)
