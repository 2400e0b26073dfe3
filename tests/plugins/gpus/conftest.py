"""Two worlds of cards: the JSON file of the fake source, and our stand-in for NVIDIA's library with its text file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from contracts.gpu import Gpu
from contracts.seams import GpuSource
from plugins.gpus.fake import FakeSource
from plugins.gpus.nvml import NvmlSource
from tests.fake_nvml.library import VARIANTS, build_fake_nvml, install_fake_nvml
from tests.fake_nvml.world import Card, Process, Slice, World

NOT_SUPPORTED, NO_PERMISSION, UNKNOWN = 3, 4, 999
PROCESS_CALLS = [f"nvmlDeviceGetComputeRunningProcesses_{version}" for version in ("v3", "v2")]
_RECOVERY = ["", "none", "reset", "reboot", "drain_p2p", "drain_and_reset"]


class FakeWorld:
    """The file of the fake source."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content: dict[str, Any] = {"cards": [], "pairs": [], "events": []}
        self._delay_s = 0.0

    def set_cards(self, devices: Sequence[Gpu]) -> None:
        self._content["cards"] = cards = []
        for device in devices:
            if device.kind == "mig":
                cards[-1]["slices"].append(_json(device, *_ONLY_CARDS))
            else:
                cards.append({**_json(device, *_ONLY_SLICES), "slices": []})
        self.write()

    def set_pairs(self, topology: Mapping[tuple[str, str], int], nvlinks: Mapping[tuple[str, str], int]) -> None:
        pairs = {**topology, **nvlinks}
        self._content["pairs"] = [{"uuids": list(key), "level": topology.get(key), "nvlinks": nvlinks.get(key, 0)} for key in pairs]

    def add_xid(self, uuid: str, xid: int, gpu_instance: int | None = None, compute_instance: int | None = None) -> None:
        event = {"uuid": uuid, "xid": xid, "gpu_instance": gpu_instance, "compute_instance": compute_instance}
        self._content["events"].append(event)
        self.write()

    def set_delay(self, seconds: float) -> None:
        self._delay_s = seconds
        self.write()

    def write(self) -> None:
        """Written aside and renamed, so that no reader sees half of it."""
        cards = [{**card, "delay_s": self._delay_s} for card in self._content["cards"]]
        aside = self.path.with_suffix(".aside")
        aside.write_text(json.dumps({**self._content, "cards": cards}, indent=1), encoding="utf-8")
        aside.replace(self.path)


_ONLY_SLICES = ("gpu_instance", "compute_instance", "profile")
_ONLY_CARDS = (
    *("name", "temperature_c", "power_w", "pci", "numa_node", "compute_capability", "mig_enabled", "mig_pending"),
    *("recovery_action", "ecc_uncorrected", "remap_pending", "remap_failed", "retirement_pending"),
)


def _json(device: Gpu, *without: str) -> dict[str, Any]:
    return {name: value for name, value in asdict(device).items() if name not in ("index", "kind", "parent_uuid", *without)}


class NvmlWorld(World):
    """The world of the stand-in library, which conformance tests describe with ``Gpu``."""

    def set_cards(self, devices: Sequence[Gpu]) -> None:
        self.cards = []
        for device in devices:
            if device.kind == "mig":
                self.cards[-1].slices.append(_slice(device))
                self.cards[-1].processes += _processes(device)
            else:
                self._add(device)
        self.write()

    def set_pairs(self, topology: Mapping[tuple[str, str], int], nvlinks: Mapping[tuple[str, str], int]) -> None:
        self.topology, self.links = dict(topology), dict(nvlinks)

    def add_xid(self, uuid: str, xid: int, gpu_instance: int | None = None, compute_instance: int | None = None) -> None:
        super().add_xid(uuid, xid, gpu_instance, compute_instance)
        self.write()

    def set_delay(self, seconds: float) -> None:
        self.delays_ms = {"nvmlDeviceGetUUID": round(seconds * 1000)} if seconds else {}
        self.write()

    def _add(self, gpu: Gpu) -> Card:
        card = self.add_card(gpu.uuid, name=gpu.name, total_bytes=gpu.total_bytes, used_bytes=gpu.used_bytes, processes=_processes(gpu))
        card.errors = dict.fromkeys(PROCESS_CALLS, NOT_SUPPORTED) if gpu.processes is None else {}
        card.errors |= {"no_permission": {"*": NO_PERMISSION}, "unknown": {"*": UNKNOWN}}.get(gpu.error_code, {})
        card.is_lost = gpu.error_code == "lost"
        card.recovery_action = max(0, _RECOVERY.index(gpu.recovery_action) - 1)
        card.compute_mode = {"default": 0, "prohibited": 2, "exclusive_process": 3}[gpu.compute_mode]
        card.ecc_uncorrected = gpu.ecc_uncorrected or 0
        card.remap_pending, card.remap_failed = bool(gpu.remap_pending), bool(gpu.remap_failed)
        card.retired_pending = bool(gpu.retirement_pending)
        card.mig = None if gpu.mig_enabled is None else (int(gpu.mig_enabled), int(bool(gpu.mig_pending)))
        return card


def _processes(gpu: Gpu) -> list[Process]:
    """Of all three kinds in turn."""
    return [
        Process(process.pid, process.used_bytes, "CGM"[place % 3], gpu.gpu_instance, gpu.compute_instance)
        for place, process in enumerate(gpu.processes or ())
    ]


def _slice(gpu: Gpu) -> Slice:
    return Slice(gpu.uuid, gpu.gpu_instance or 0, gpu.compute_instance or 0, int(gpu.profile[0]), gpu.total_bytes, gpu.used_bytes)


@pytest.fixture
def fake_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeWorld:
    world = FakeWorld(tmp_path / "cards.json")
    monkeypatch.setenv("SLUICE_FAKE_GPUS", str(world.path))
    world.write()
    return world


@pytest.fixture
def fake_source(fake_world: FakeWorld) -> GpuSource:
    return FakeSource()


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The stand-in as drivers of three ages have it."""
    folder = tmp_path_factory.mktemp("fake-nvml")
    return {variant: build_fake_nvml(folder / variant, variant) for variant in VARIANTS}


@pytest.fixture
def driver() -> str:
    """Which driver the host has; a test that needs another says so with parametrize."""
    return "580"


@pytest.fixture
def nvml_world(libraries: dict[str, Path], driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NvmlWorld:
    world = NvmlWorld(install_fake_nvml(libraries[driver], tmp_path / "driver"))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(world.path.parent))
    world.write()
    return world


@pytest.fixture
def nvml_source(nvml_world: NvmlWorld) -> Iterator[NvmlSource]:
    source = NvmlSource()
    yield source
    source.close()
