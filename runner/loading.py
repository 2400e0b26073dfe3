"""Finds plugins by name through entry points, ours through the same door as foreign ones.

A plugin that is asked for and cannot load stops the program with its name and cause; one that is only installed is listed.
"""

from __future__ import annotations

import inspect
from importlib.metadata import entry_points
from typing import Any, TypeVar

from contracts.errors import ConfigurationError
from contracts.seams import GROUPS

Seam = TypeVar("Seam")


def installed(seam: str) -> list[str]:
    """Names of the plugins for a seam (a key of ``GROUPS``), sorted; none of them is loaded."""
    return sorted({entry.name for entry in entry_points(group=GROUPS[seam])})


def load(seam: str, name: str, base: type[Seam]) -> type[Seam]:
    """The plugin class of that name. Refused when unknown, broken, or not a complete ``base``."""
    found = [entry for entry in entry_points(group=GROUPS[seam]) if entry.name == name]
    if not found:
        raise ConfigurationError(f"there is no {seam} {name!r}", hint=f"Installed: {', '.join(installed(seam)) or 'none'}.", name=name)
    try:
        plugin = found[0].load()
    except Exception as error:
        raise ConfigurationError(
            f"the {seam} {name!r} ({found[0].value}) cannot be loaded: {error}", hint="Mend or uninstall it."
        ) from error
    return _complete(seam, name, plugin, base)


def load_all(seam: str, base: type[Seam]) -> dict[str, type[Seam]]:
    """Every installed plugin of a seam, by name."""
    return {name: load(seam, name, base) for name in installed(seam)}


def _complete(seam: str, name: str, plugin: Any, base: type[Seam]) -> type[Seam]:
    if not (inspect.isclass(plugin) and issubclass(plugin, base)):
        raise ConfigurationError(f"the {seam} {name!r} is {plugin!r}, which is not a subclass of {base.__module__}.{base.__name__}")
    missing = sorted(getattr(plugin, "__abstractmethods__", ()))
    if missing:
        raise ConfigurationError(f"the {seam} {name!r} ({plugin.__module__}.{plugin.__name__}) lacks: {', '.join(missing)}")
    return plugin
