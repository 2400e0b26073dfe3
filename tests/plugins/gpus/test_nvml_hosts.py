"""Hosts without a driver, with one of another age, with one that was updated or forbids, and with a binding that misreads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts.errors import GpuSourceError
from plugins.gpus import nvml_process
from plugins.gpus.nvml import NvmlSource
from tests.conformance.gpu_source import GIB, card

if TYPE_CHECKING:
    from tests.plugins.gpus.conftest import NvmlWorld

RESERVED = 600 * 1024**2


@pytest.fixture
def source(nvml_source: NvmlSource) -> NvmlSource:
    return nvml_source


@pytest.fixture
def world(nvml_world: NvmlWorld) -> NvmlWorld:
    return nvml_world


# ------------------------------------------------------------------------------------------------------------------ drivers


@pytest.mark.parametrize("driver", ["470", "510", "580"])
class TestDriversOfThreeAges:
    """A13."""

    def test_the_same_processes_are_found(self, source: NvmlSource, world: NvmlWorld, driver: str) -> None:
        shown = world.add_card("GPU-0")
        for pid, kind in ((4194000, "C"), (4194001, "G"), (4194002, "M")):
            shown.add_process(pid, kind=kind)
        world.write()
        assert [(process.pid, process.used_bytes) for process in source.snapshot().gpus[0].processes or ()] == [
            (pid, GIB) for pid in (4194000, 4194001, 4194002)
        ]

    def test_the_reserve_of_the_driver_is_told_apart_where_it_can_be(self, source: NvmlSource, world: NvmlWorld, driver: str) -> None:
        world.add_card("GPU-0", used_bytes=GIB, reserved_bytes=RESERVED)
        world.write()
        (gpu,) = source.snapshot().gpus
        expected = (GIB + RESERVED, 0) if driver == "470" else (GIB, RESERVED)
        assert (gpu.total_bytes, (gpu.used_bytes, gpu.reserved_bytes)) == (80 * GIB, expected)

    def test_the_driver_names_itself_and_its_verdict_where_it_has_one(self, source: NvmlSource, world: NvmlWorld, driver: str) -> None:
        world.add_card("GPU-0", recovery_action=1)
        world.write()
        snapshot = source.snapshot()
        assert snapshot.driver == f"{driver}.0"
        assert snapshot.gpus[0].recovery_action == ("reset" if driver == "580" else "")


# -------------------------------------------------------------------------------------------------------------------- hosts


@pytest.mark.parametrize("code", [9, 28])
def test_a_host_without_a_driver_or_a_card_has_no_gpus_until_it_has(source: NvmlSource, world: NvmlWorld, code: int) -> None:
    """A11."""
    world.init_code = code
    world.set_cards([card(0)])
    assert source.snapshot().gpus == ()
    world.init_code = 0
    world.write()
    assert len(source.snapshot().gpus) == 1


def test_a_host_without_the_library_has_no_gpus_until_it_is_installed(source: NvmlSource, world: NvmlWorld) -> None:
    """A11."""
    world.set_cards([card(0)])
    library = world.path.parent / "libnvidia-ml.so.1"
    built = library.readlink()
    library.unlink()
    library.write_bytes(b"")  # so that no real one is found elsewhere
    assert source.snapshot().gpus == ()
    library.unlink()
    library.symlink_to(built)
    assert len(source.snapshot().gpus) == 1


def test_a_driver_updated_while_in_use_says_reload_or_reboot_and_heals_by_itself(source: NvmlSource, world: NvmlWorld) -> None:
    """A11."""
    world.init_code = 18
    world.set_cards([card(0)])
    with pytest.raises(GpuSourceError) as caught:
        source.snapshot()
    assert all(word in caught.value.hint for word in ("reload", "reboot"))
    world.init_code = 0
    world.write()
    assert len(source.snapshot().gpus) == 1


def test_a_driver_updated_under_an_open_probe_is_seen_by_a_fresh_one(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_cards([card(0)])
    source.snapshot()
    world.errors = {"nvmlDeviceGetCount_v2": 18}
    world.write()
    with pytest.raises(GpuSourceError, match="NVML error 18"):
        source.snapshot()
    assert source._probe is None
    world.errors = {}
    world.write()
    assert len(source.snapshot().gpus) == 1


def test_a_driver_that_refuses_this_user_is_an_error_with_its_number_until_it_does_not(source: NvmlSource, world: NvmlWorld) -> None:
    """A11."""
    world.init_code = 4
    world.set_cards([card(0)])
    with pytest.raises(GpuSourceError, match="NVML error 4") as caught:
        source.snapshot()
    assert "/dev/nvidiactl" in caught.value.hint
    world.init_code = 0
    world.write()
    assert len(source.snapshot().gpus) == 1


# ------------------------------------------------------------------------------------------------------------------ binding

#: What 12.535.77 has instead of the struct that drivers write: 40 bytes for 24.
WRONG_BINDING = """
import ctypes, importlib.metadata, pynvml
importlib.metadata.version = lambda name: "12.535.77"
del pynvml.c_nvmlProcessInfo_v2_t, pynvml.NVML_ERROR_GPU_NOT_FOUND  # which it does not know either
from plugins.gpus import nvml_probe
nvml_probe.main()
"""


def test_a_binding_that_misreads_processes_is_refused_with_the_reason(
    source: NvmlSource, world: NvmlWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A14."""
    world.set_cards([card(0)])
    monkeypatch.setattr(nvml_process, "COMMAND", (sys.executable, "-c", WRONG_BINDING))
    with pytest.raises(GpuSourceError, match=r"12\.535\.77 reads wrong process ids") as caught:
        source.snapshot()
    assert "pip install --upgrade nvidia-ml-py" in caught.value.hint


@pytest.mark.parametrize(("fields", "is_refused"), [(4, False), (5, True)])
def test_a_binding_is_judged_by_what_it_takes_for_a_process(fields: int, *, is_refused: bool) -> None:
    code = f"""
import ctypes, pynvml
kinds = [ctypes.c_uint, ctypes.c_ulonglong, ctypes.c_uint, ctypes.c_uint, ctypes.c_ulonglong][:{fields}]
pynvml.c_nvmlProcessInfo_v2_t = type("Info", (ctypes.Structure,), {{"_fields_": [(f"f{{n}}", kind) for n, kind in enumerate(kinds)]}})
from plugins.gpus.nvml_calls import binding_fault
print(bool(binding_fault()))
"""
    root = Path(__file__).resolve().parents[3]
    answer = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == str(is_refused)
