from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from contracts.seams import GROUPS, Dialect, Engine, Format, GpuSource, Listener, Source, Store
from runner.loading import installed, load, load_all

BASES = {
    "engine": Engine,
    "gpu source": GpuSource,
    "store": Store,
    "format": Format,
    "dialect": Dialect,
    "listener": Listener,
    "source": Source,
}


@pytest.mark.parametrize("seam", sorted(GROUPS))
def test_every_plugin_that_ships_loads_and_is_complete(seam: str) -> None:
    plugins = load_all(seam, BASES[seam])
    assert plugins
    assert all(plugin.name == name for name, plugin in plugins.items())


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)there is no engine 'podman'.*docker.*process"):
        load("engine", "podman", Engine)


def _install(folder: Path, monkeypatch: pytest.MonkeyPatch, value: str, code: str) -> None:
    """A real distribution on the path, as pip would leave it."""
    info = folder / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[sluice.stores]\nforeign = {value}\n")
    (folder / "foreign_store.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder))


def test_a_half_written_plugin_is_refused_naming_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from contracts.seams import Store\nclass Half(Store):\n    name = 'foreign'\n    def find(self, sha1, extension): return None\n"
    _install(tmp_path, monkeypatch, "foreign_store:Half", code)
    assert "foreign" in installed("store")
    with pytest.raises(ConfigurationError, match="lacks: add_many, check, holding"):
        load("store", "foreign", Store)


def test_a_plugin_that_cannot_be_imported_is_named_with_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, monkeypatch, "foreign_broken:Store", "")
    with pytest.raises(ConfigurationError, match=r"'foreign' \(foreign_broken:Store\) cannot be loaded: No module named"):
        load("store", "foreign", Store)


def test_a_class_of_another_kind_is_refused() -> None:
    class Other(ABC):
        @abstractmethod
        def something(self) -> None: ...

    assert EntryPoint("docker", "x:y", GROUPS["engine"]).name in installed("engine")
    with pytest.raises(ConfigurationError, match="not a subclass of"):
        load("engine", "docker", Other)
