"""The real nvidia-ml-py in the real probe, over our stand-in for NVIDIA's library."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts.errors import GpuSourceError
from contracts.seams import GpuSource
from plugins.gpus.nvml import NvmlSource
from runner.loading import load
from tests.conformance.gpu_source import GIB, GpuSourceConformance, card

if TYPE_CHECKING:
    from tests.plugins.gpus.conftest import NvmlWorld

HANG = "delay nvmlDeviceGetCount_v2 60000"
CARD = ("gpu GPU-0", f"memory {80 * GIB} {600 * 1024**2} {GIB}")


@pytest.fixture
def source(nvml_source: NvmlSource) -> NvmlSource:
    return nvml_source


@pytest.fixture
def world(nvml_world: NvmlWorld) -> NvmlWorld:
    return nvml_world


class TestNvmlSource(GpuSourceConformance):
    pass


@pytest.mark.parametrize("driver", ["old"])
class TestNvmlSourceWithAnOldDriver:
    def test_processes_are_found_with_the_older_calls(self, source: NvmlSource, world: NvmlWorld) -> None:
        world.set_lines([*CARD, f"process Compute 4194000 {GIB}", f"process Compute 4194001 {GIB}"])
        assert [process.pid for process in source.list_gpus()[0].processes] == [4194000, 4194001]

    def test_memory_is_read_with_the_first_call_which_counts_the_reserve(self, source: NvmlSource, world: NvmlWorld) -> None:
        world.set_lines(CARD)
        assert source.list_gpus()[0].used_bytes == GIB + 600 * 1024**2


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()]


def probe_pid(source: NvmlSource) -> int:
    """The child of this process that runs the probe."""
    source.list_gpus(timeout_s=30)
    (pid,) = [pid for pid in children() if b"nvml_probe" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return pid


def test_use_and_temperature_are_shown(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_lines([*CARD, "utilization 37", "temperature 41"])
    (gpu,) = source.list_gpus()
    assert (gpu.utilization_fraction, gpu.temperature_c) == (0.37, 41)


def test_a_process_has_the_first_200_characters_of_its_command_without_control_characters(source: NvmlSource, world: NvmlWorld) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()", "\x1b[31mred", "x" * 300], stdin=subprocess.PIPE)
    world.set_lines([*CARD, f"process Graphics {process.pid} {GIB}"])
    (found,) = source.list_gpus()[0].processes
    process.communicate(b"\n")
    assert found.command.startswith(f"{sys.executable} -c input() ?[31mred xxx")
    assert len(found.command) == 200


def test_a_process_of_two_kinds_is_listed_once(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_lines([*CARD, "process Compute 4194000 5", "process Graphics 4194000 5", "process MPSCompute 4194001 -1"])
    assert [(process.pid, process.used_bytes) for process in source.list_gpus()[0].processes] == [(4194000, 5), (4194001, None)]


@pytest.mark.parametrize("code", [3, 4])
def test_processes_that_the_driver_does_not_tell_leave_the_card_well(source: NvmlSource, world: NvmlWorld, code: int) -> None:
    world.set_lines([*CARD, *(f"fail nvmlDeviceGetComputeRunningProcesses_{version} {code}" for version in ("v3", "v2"))])
    (gpu,) = source.list_gpus()
    assert (gpu.error, gpu.processes) == ("", ())


@pytest.mark.parametrize(("function", "code"), [("*", 4), ("nvmlDeviceGetMemoryInfo_v2", 999), ("nvmlDeviceGetTemperature", 15)])
def test_what_a_broken_card_answers_is_said(source: NvmlSource, world: NvmlWorld, function: str, code: int) -> None:
    world.set_lines([*CARD, f"fail {function} {code}", "gpu GPU-1"])
    broken, well = source.list_gpus()
    assert f"NVML error {code}" in broken.error
    assert well.error == ""


def test_a_display_value_that_fails_loses_nothing_else(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_lines([*CARD, "fail nvmlDeviceGetTemperature 999"])
    (gpu,) = source.list_gpus()
    assert (gpu.error, gpu.temperature_c, gpu.used_bytes) == ("", None, GIB)


def test_a_card_cut_into_slices_cannot_be_leased(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_lines([*CARD, "mig 1 1", "gpu GPU-1", "mig 0 0"])
    assert ["MIG" in gpu.error for gpu in source.list_gpus()] == [True, False]


def test_a_card_that_falls_off_the_bus_keeps_the_uuid_it_was_seen_with(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_cards([card(0), card(1)])
    source.list_gpus()
    world.set_cards([card(0), card(1, error="lost")])
    assert [(gpu.uuid, bool(gpu.error)) for gpu in source.list_gpus()] == [("GPU-0", False), ("GPU-1", True)]


def test_a_lost_card_does_not_take_the_uuid_of_one_that_moved(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_cards([card(0), card(1)])
    source.list_gpus()
    world.set_lines(["gpu GPU-1", "gpu GPU-0", "fail * 15"])
    assert [gpu.uuid for gpu in source.list_gpus()] == ["GPU-1", "unknown-1"]


# ------------------------------------------------------------------------------------------------------- hosts and drivers


@pytest.mark.parametrize("code", [9, 28])
def test_a_host_without_a_driver_or_a_card_has_no_gpus(source: NvmlSource, world: NvmlWorld, code: int) -> None:
    world.set_lines([f"init {code}"])
    assert source.list_gpus() == []


def test_a_host_without_the_library_has_no_gpus(world: NvmlWorld, source: NvmlSource) -> None:
    (world.path.parent / "libnvidia-ml.so.1").write_bytes(b"")
    assert source.list_gpus() == []


def test_a_driver_updated_while_in_use_says_reboot_and_heals_by_itself(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_lines(["init 18", *CARD])
    with pytest.raises(GpuSourceError) as caught:
        source.list_gpus()
    assert "reboot" in caught.value.hint
    world.set_lines(CARD)
    assert len(source.list_gpus()) == 1


def test_a_driver_that_refuses_this_user_is_an_error_with_its_number(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_lines(["init 4"])
    with pytest.raises(GpuSourceError, match="NVML error 4"):
        source.list_gpus()


# ----------------------------------------------------------------------------------------------------------------- the probe


def test_a_hang_after_good_answers_is_cut_off_and_the_next_reading_works(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_lines(CARD)
    first = probe_pid(source)
    world.set_lines([HANG, *CARD])
    with pytest.raises(GpuSourceError, match="within 1 s"):
        source.list_gpus(timeout_s=1.0)
    world.set_lines(CARD)
    assert probe_pid(source) != first


def test_a_thread_that_waits_for_a_hanging_one_is_in_time_too(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_lines([HANG, *CARD])
    with source._lock, pytest.raises(GpuSourceError, match="within 1 s"):
        source.list_gpus(timeout_s=1.0)


def test_a_probe_killed_from_outside_is_replaced(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_lines(CARD)
    first = probe_pid(source)
    os.kill(first, signal.SIGKILL)
    while Path(f"/proc/{first}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
        time.sleep(0.01)
    assert probe_pid(source) != first


def test_a_library_that_crashes_is_an_error_and_the_next_reading_works(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_lines(["crash nvmlDeviceGetCount_v2", *CARD])
    with pytest.raises(GpuSourceError, match="ended without an answer") as caught:
        source.list_gpus()
    assert "nvml_probe" in caught.value.hint
    world.set_lines(CARD)
    assert len(source.list_gpus()) == 1


def test_what_the_library_prints_does_not_disturb_the_answers(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_lines(["say nvmlDeviceGetCount_v2", "say nvmlInitWithFlags", *CARD])
    assert [len(source.list_gpus()) for _ in range(3)] == [1, 1, 1]


def test_the_probe_is_kept_while_all_is_well_and_replaced_after_three_readings_with_a_broken_card(
    source: NvmlSource, world: NvmlWorld
) -> None:
    world.set_lines(CARD)
    first = probe_pid(source)
    assert probe_pid(source) == first
    world.set_lines([*CARD, "fail * 15"])
    for _ in range(3):
        source.list_gpus()
    assert probe_pid(source) != first


def test_no_process_stays_on_a_host_without_gpus(source: NvmlSource, world: NvmlWorld) -> None:
    before = children()
    assert source.list_gpus() == []
    assert children() == before


def test_a_probe_that_cannot_be_killed_is_not_waited_for_and_at_most_two_are_left(source: NvmlSource, world: NvmlWorld) -> None:
    """Only a broken driver makes such a process; two that nobody kills stand for them."""
    world.set_lines(CARD)
    immortal = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(2)]
    source._abandoned.extend(immortal)
    with pytest.raises(GpuSourceError) as caught:
        source.list_gpus()
    assert caught.value.fields["pids"] == [process.pid for process in immortal]
    immortal[0].communicate(b"\n")
    assert len(source.list_gpus()) == 1
    immortal[1].communicate(b"\n")


def test_the_probe_gets_nothing_of_our_environment_but_what_it_needs(
    source: NvmlSource, world: NvmlWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    monkeypatch.setenv("PYTHONPATH", str(world.path.parent))
    world.set_lines(CARD)
    given = Path(f"/proc/{probe_pid(source)}/environ").read_bytes().split(b"\0")
    assert {variable.split(b"=")[0] for variable in given if variable} <= {b"PATH", b"HOME", b"LD_LIBRARY_PATH", b"LC_ALL"}


def test_a_module_in_the_users_folder_is_not_imported(
    source: NvmlSource, world: NvmlWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pynvml.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    world.set_lines(CARD)
    assert len(source.list_gpus()) == 1


def test_after_close_no_process_is_left(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_lines(CARD)
    pid = probe_pid(source)
    source.close()
    assert not Path(f"/proc/{pid}").exists()


def test_it_is_found_by_its_name() -> None:
    assert load("gpu source", "nvml", GpuSource) is NvmlSource  # type: ignore[type-abstract]
