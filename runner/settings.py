"""The settings: one frozen record, read once by a door.

Order: the door's own options > environment ``SLUICE_<NAME>`` > ``<home>/sluice.cfg`` > ``default.cfg`` beside this file, which lists
and explains every setting. A key that no setting has is refused, so that a misspelt one is not silently ignored.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
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
    engine_silence_s: float
    log_tail_lines: int
    val_fraction: float
    store: str
    store_connection: str
    store_address: str
    cache_bytes: int
    source_max_files: int
    source_max_bytes: int
    max_picture_bytes: int
    index_view_from: int
    job_slots: int
    hold_after_s: float
    share_half_life_s: float
    retry_reasons: str
    retry_limit: int
    retry_backoff_s: float
    pull_timeout_s: float
    start_timeout_s: float
    silence_timeout_s: float
    disk_floor_bytes: int
    usage_interval_s: float
    gpu_idle_bytes: int
    gpu_injection: str
    gpu_lock: str
    xid_policy: str
    server: str
    server_token: str = field(repr=False)
    server_certificate: str
    listen: str
    listen_tcp: str
    tls_certificate: str
    tls_key: str
    token_file: str
    allowed_roots: str
    max_request_bytes: int
    metrics_listen: str
    log_format: str
    listeners: str
    #: Options of each section ``[listener NAME]`` of the settings file.
    listener_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.home / 'sluice.db'}"


#: Every setting that has a line in default.cfg.
NAMES = tuple(setting.name for setting in fields(Settings) if setting.name != "listener_options")


_CHOICES = {"gpu_injection": ("auto", "nvidia", "cdi"), "log_format": ("text", "json")}


def load_settings(overrides: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process. ``overrides`` are a door's options, by setting name. Raises ``ConfigurationError``."""
    environ = os.environ if environ is None else environ
    values = _parse(files("runner").joinpath("default.cfg").read_text(encoding="utf-8"), "default.cfg")
    over = {**_from_environment(environ), **(overrides or {})}
    home = Path(over.get("home") or values["home"]).expanduser().absolute()
    config, listeners = home / "sluice.cfg", {}
    if config.is_file():
        text = config.read_text(encoding="utf-8")
        values |= _known(_parse(text, str(config)), values, str(config))
        listeners = _listener_sections(text, str(config))
    values |= _known(over, values, "the command line or environment")
    return replace(_typed(values | {"home": str(home)}), listener_options=listeners)


def environment_of(settings: Settings) -> dict[str, str]:
    """The ``SLUICE_*`` variables that give another process the same settings."""
    return {f"SLUICE_{name.upper()}": str(getattr(settings, name)) for name in NAMES}


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    # Only names of settings: other SLUICE_ variables belong to plugins and scripts.
    names = {f"SLUICE_{name.upper()}": name for name in NAMES}
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


def _listener_sections(text: str, place: str) -> dict[str, dict[str, str]]:
    """The sections ``[listener NAME]``; any other section beside ``[sluice]`` is a mistake."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text, place)
    found = {}
    for section in parser.sections():
        word, _, name = section.partition(" ")
        if word == "listener" and name.strip():
            found[name.strip()] = dict(parser[section])
        elif section != _SECTION:
            raise ConfigurationError(f"{place}: there is no section [{section}]", hint=f"Known: [{_SECTION}] and [listener NAME].")
    return found


def _known(values: Mapping[str, str], defaults: Iterable[str], place: str) -> dict[str, str]:
    known = sorted(defaults)
    for name in values:
        if name not in known:
            raise ConfigurationError(f"{place}: there is no setting {name!r}", hint=f"Known: {', '.join(known)}.", setting=name)
    return dict(values)


def _typed(values: Mapping[str, str]) -> Settings:
    converters = {"Path": Path, "str": str, "int": int, "float": float}
    typed = {}
    for name, known in _CHOICES.items():
        if values[name] not in known:
            raise ConfigurationError(f"the setting {name} is {values[name]!r}", hint=f"Known: {', '.join(known)}.", setting=name)
    for setting in (setting for setting in fields(Settings) if setting.name in NAMES):
        try:
            typed[setting.name] = converters[str(setting.type)](values[setting.name])
        except ValueError as error:
            raise ConfigurationError(
                f"the setting {setting.name} is {values[setting.name]!r}, not {'a whole number' if setting.type == 'int' else 'a number'}",
                hint="Correct it where it is set: option, SLUICE_ variable or sluice.cfg.",
            ) from error
    return Settings(**typed)
