"""What is read of a card: the real nvidia-ml-py in the real probe, over our stand-in for NVIDIA's library."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from contracts.gpu import Gpu
from contracts.seams import GpuSource
from plugins.gpus.nvml import NvmlSource
from runner.loading import load
from tests.conformance.gpu_source import GIB, GpuSourceConformance, card, cut_card, mig_slice

if TYPE_CHECKING:
    from tests.plugins.gpus.conftest import NvmlWorld

MIB = 1024**2
LOST, RESET_REQUIRED, NO_PERMISSION, OPERATING_SYSTEM, UNKNOWN = 15, 16, 4, 17, 999


@pytest.fixture
def source(nvml_source: NvmlSource) -> NvmlSource:
    return nvml_source


@pytest.fixture
def world(nvml_world: NvmlWorld) -> NvmlWorld:
    return nvml_world


class TestNvmlSource(GpuSourceConformance):
    pass


def only(source: NvmlSource) -> Gpu:
    (gpu,) = source.snapshot().gpus
    return gpu


def test_it_is_found_by_its_name() -> None:
    assert load("gpu source", "nvml", GpuSource) is NvmlSource  # type: ignore[type-abstract]


def test_what_a_card_is_and_does_is_shown(source: NvmlSource, world: NvmlWorld) -> None:
    shown = world.add_card("GPU-0", name="NVIDIA H200", bus="00000000:1a:00.0", numa_node=70, compute_capability=(8, 9))
    shown.utilization_percent, shown.temperature_c, shown.power_mw = 37, 41, 123_400
    world.write()
    gpu = only(source)
    assert (gpu.name, gpu.pci, gpu.numa_node, gpu.compute_capability) == ("NVIDIA H200", "00000000:1A:00.0", 70, "8.9")
    assert (gpu.utilization_fraction, gpu.temperature_c, gpu.power_w) == (0.37, 41, 123.4)
    assert (gpu.mig_enabled, gpu.mig_pending, gpu.compute_mode, gpu.recovery_action) == (None, None, "default", "none")


@pytest.mark.parametrize("code", [3, NO_PERMISSION, UNKNOWN])
def test_what_a_card_does_not_say_is_none_and_the_card_is_well(source: NvmlSource, world: NvmlWorld, code: int) -> None:
    silent = world.add_card("GPU-0", used_bytes=GIB)
    names = ("Temperature", "PowerUsage", "UtilizationRates", "TotalEccErrors", "RemappedRows", "RetiredPagesPendingStatus")
    silent.errors = {f"nvmlDeviceGet{name}": code for name in (*names, "FieldValues", "ComputeMode", "MigMode", "PciInfo_v3", "Name")}
    world.write()
    gpu = only(source)
    assert (gpu.error, gpu.used_bytes, gpu.processes) == ("", GIB, ())
    assert (gpu.temperature_c, gpu.power_w, gpu.utilization_fraction, gpu.ecc_uncorrected) == (None, None, None, None)
    assert (gpu.remap_pending, gpu.remap_failed, gpu.retirement_pending, gpu.recovery_action) == (None, None, None, "")


@pytest.mark.parametrize(
    ("number", "action"), [(0, "none"), (1, "reset"), (2, "reboot"), (3, "drain_p2p"), (4, "drain_and_reset"), (99, "action_99")]
)
def test_the_drivers_verdict_is_told_by_its_name(source: NvmlSource, world: NvmlWorld, number: int, action: str) -> None:
    world.add_card("GPU-0", recovery_action=number)
    world.write()
    assert only(source).recovery_action == action


@pytest.mark.parametrize(("number", "mode"), [(0, "default"), (1, "exclusive_process"), (2, "prohibited"), (3, "exclusive_process")])
def test_a_compute_mode_is_told(source: NvmlSource, world: NvmlWorld, number: int, mode: str) -> None:
    """A18: mode 2 is never offered."""
    world.add_card("GPU-0", compute_mode=number)
    world.write()
    assert only(source).compute_mode == mode


# --------------------------------------------------------------------------------------------------------------- processes


def test_a_process_has_the_first_200_characters_of_its_command_without_control_characters(source: NvmlSource, world: NvmlWorld) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()", "\x1b[31mred", "x" * 300], stdin=subprocess.PIPE)
    world.add_card("GPU-0").add_process(process.pid, kind="G")
    world.write()
    (found,) = only(source).processes or ()
    process.communicate(b"\n")
    assert found.command.startswith(f"{sys.executable} -c input() ?[31mred xxx")
    assert len(found.command) == 200


def test_a_process_of_two_kinds_is_listed_once_with_the_memory_that_is_known(source: NvmlSource, world: NvmlWorld) -> None:
    shown = world.add_card("GPU-0")
    for pid, used_bytes, kind in ((4194000, None, "C"), (4194000, 5, "G"), (4194001, None, "M")):
        shown.add_process(pid, used_bytes, kind=kind)
    world.write()
    assert [(process.pid, process.used_bytes) for process in only(source).processes or ()] == [(4194000, 5), (4194001, None)]


def test_more_processes_than_the_binding_expects_are_all_listed(source: NvmlSource, world: NvmlWorld) -> None:
    shown = world.add_card("GPU-0")
    for pid in range(4194000, 4194060):
        shown.add_process(pid)
    world.write()
    assert [process.pid for process in only(source).processes or ()] == list(range(4194000, 4194060))


@pytest.mark.parametrize("kind", ["Compute", "Graphics", "MPSCompute"])
def test_processes_that_the_driver_hides_make_all_unknown(source: NvmlSource, world: NvmlWorld, kind: str) -> None:
    world.add_card("GPU-0", errors={f"nvmlDeviceGet{kind}RunningProcesses_v3": NO_PERMISSION}).add_process(4194000)
    world.write()
    gpu = only(source)
    assert (gpu.error, gpu.processes) == ("", None)


def test_a_card_that_knows_only_compute_processes_lists_these(source: NvmlSource, world: NvmlWorld) -> None:
    errors = {f"nvmlDeviceGet{kind}RunningProcesses_{version}": 3 for kind in ("Graphics", "MPSCompute") for version in ("v2", "v3")}
    world.add_card("GPU-0", errors=errors).add_process(4194000)
    world.write()
    assert [process.pid for process in only(source).processes or ()] == [4194000]


def test_a_process_that_a_container_brings_is_seen_while_it_lives(source: NvmlSource, world: NvmlWorld) -> None:
    """What the stand-in hook writes; the memory goes with the process."""
    world.add_card("GPU-0").add_slice("MIG-0")
    world.write()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    world.occupy("MIG-0", process.pid, GIB)
    seen = [(gpu.uuid, gpu.used_bytes, [found.pid for found in gpu.processes or ()]) for gpu in source.snapshot().gpus]
    process.communicate(b"\n")
    assert seen == [("GPU-0", GIB, [process.pid]), ("MIG-0", GIB, [process.pid])]
    assert [(gpu.used_bytes, gpu.processes) for gpu in source.snapshot().gpus] == [(0, ()), (0, ())]


# ------------------------------------------------------------------------------------------------------------ broken cards


@pytest.mark.parametrize(
    ("function", "code", "meaning"),
    [
        ("*", NO_PERMISSION, "no_permission"),
        ("*", OPERATING_SYSTEM, "no_permission"),
        ("nvmlDeviceGetUUID", UNKNOWN, "unknown"),
        ("nvmlDeviceGetMemoryInfo_v2", UNKNOWN, "unknown"),
        ("nvmlDeviceGetTemperature", LOST, "lost"),
        ("nvmlDeviceGetMemoryInfo_v2", RESET_REQUIRED, "lost"),
    ],
)
def test_what_a_broken_card_answers_is_said(source: NvmlSource, world: NvmlWorld, function: str, code: int, meaning: str) -> None:
    world.add_card("GPU-0", errors={function: code})
    world.add_card("GPU-1")
    world.write()
    broken, well = source.snapshot().gpus
    assert (broken.error_code, f"NVML error {code}" in broken.error) == (meaning, True)
    assert (well.error_code, well.error) == ("", "")


def test_seven_cards_are_usable_when_one_of_eight_may_not_be_read(source: NvmlSource, world: NvmlWorld) -> None:
    """A10."""
    world.set_cards([card(index, error_code="no_permission" if index == 3 else "") for index in range(8)])
    snapshot = source.snapshot()
    assert [gpu.index for gpu in snapshot.gpus if not gpu.error] == [0, 1, 2, 4, 5, 6, 7]
    assert (snapshot.gpus[3].error_code, snapshot.events_monitored) == ("no_permission", True)


def test_a_card_that_falls_off_the_bus_is_seen_alone_and_keeps_the_uuid_it_was_seen_with(source: NvmlSource, world: NvmlWorld) -> None:
    """A7."""
    world.set_cards([card(index) for index in range(8)])
    before = source.snapshot()
    world.card("GPU-5").is_lost = True
    world.write()
    after = source.snapshot()
    assert [gpu.uuid for gpu in after.gpus] == [gpu.uuid for gpu in before.gpus]
    assert [gpu.error_code for gpu in after.gpus] == ["lost" if index == 5 else "" for index in range(8)]
    assert (after.gpus[5].name, after.gpus[5].pci, after.gpus[5].total_bytes) == ("Card", before.gpus[5].pci, 80 * GIB)


def test_a_lost_card_does_not_take_the_uuid_of_one_that_moved(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_cards([card(0), card(1)])
    source.snapshot()
    world.cards.reverse()
    world.card("GPU-0").is_lost = True
    world.write()
    assert [gpu.uuid for gpu in source.snapshot().gpus] == ["GPU-1", "unknown-1"]


def test_a_uuid_is_the_same_card_when_the_driver_lists_them_backwards(source: NvmlSource, world: NvmlWorld) -> None:
    """A9."""
    world.set_cards([card(index, used_bytes=index * GIB) for index in range(8)])
    before = {gpu.uuid: (gpu.pci, gpu.used_bytes) for gpu in source.snapshot().gpus}
    world.cards.reverse()
    world.write()
    after = source.snapshot().gpus
    assert {gpu.uuid: (gpu.pci, gpu.used_bytes) for gpu in after} == before
    assert [gpu.uuid for gpu in after] == [f"GPU-{index}" for index in reversed(range(8))]


# ------------------------------------------------------------------------------------------------------------------ slices


def test_seven_slices_of_a_card_are_seven_devices_with_their_own_processes(source: NvmlSource, world: NvmlWorld) -> None:
    """A16."""
    world.set_cards([*cut_card(0, [mig_slice(number) for number in range(7)]), card(1)])
    world.card("GPU-0").add_process(4194000, gpu_instance=3, compute_instance=0)
    world.write()
    gpus = source.snapshot().gpus
    assert [gpu.uuid for gpu in gpus] == ["GPU-0", *(f"MIG-{number}" for number in range(7)), "GPU-1"]
    assert [gpu.uuid for gpu in gpus if gpu.processes] == ["GPU-0", "MIG-3"]
    assert {(gpu.name, gpu.pci) for gpu in gpus[:8]} == {(gpus[0].name, gpus[0].pci)}


def test_slices_beyond_an_empty_number_are_found(source: NvmlSource, world: NvmlWorld) -> None:
    """A17: one was destroyed, and another is not yet made in its place."""
    world.set_cards(cut_card(0, [mig_slice(number) for number in range(3)]))
    source.snapshot()
    world.card("GPU-0").slices[1].uuid = "-"
    world.write()
    assert [gpu.uuid for gpu in source.snapshot().gpus] == ["GPU-0", "MIG-0", "MIG-2"]
    world.card("GPU-0").slices[1].uuid = "MIG-new"
    world.write()
    assert [gpu.uuid for gpu in source.snapshot().gpus] == ["GPU-0", "MIG-0", "MIG-new", "MIG-2"]


def test_the_profile_of_a_slice_without_a_name_is_put_together_from_its_size(source: NvmlSource, world: NvmlWorld) -> None:
    world.add_card("GPU-0").add_slice("MIG-0", slices=3, total_bytes=71_424 * MIB)
    world.errors = {"nvmlDeviceGetName": UNKNOWN}
    world.write()
    assert source.snapshot().gpus[1].profile == "3g.70gb"


def test_a_card_with_slices_whose_sums_are_hidden_shows_its_slices(source: NvmlSource, world: NvmlWorld) -> None:
    """The driver tells them only to root."""
    hidden = ("MemoryInfo", "MemoryInfo_v2", "ComputeRunningProcesses_v3", "GraphicsRunningProcesses_v3", "MPSComputeRunningProcesses_v3")
    world.add_card("GPU-0").add_slice("MIG-0")
    world.errors = {f"nvmlDeviceGet{name}": NO_PERMISSION for name in hidden}
    world.write()
    whole, part = source.snapshot().gpus
    assert (whole.error, whole.processes) == ("", None)
    assert (part.uuid, part.error_code) == ("MIG-0", "no_permission")


def test_slices_may_not_be_looked_at_before_the_reset_that_makes_them_possible(source: NvmlSource, world: NvmlWorld) -> None:
    """A18."""
    world.add_card("GPU-0", mig=(0, 1)).add_slice("MIG-0")
    world.write()
    gpu = only(source)
    assert (gpu.mig_enabled, gpu.mig_pending) == (False, True)


def test_the_commands_of_processes_that_are_gone_or_hidden_are_empty(source: NvmlSource, world: NvmlWorld) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    shown = world.add_card("GPU-0")
    shown.add_process(gone.pid)
    shown.add_process(os.getpid())
    world.write()
    commands = {process.pid: process.command for process in only(source).processes or ()}
    assert commands[gone.pid] == ""
    assert "pytest" in commands[os.getpid()]
