"""What a full snapshot of 8 cards costs through the running probe, beside the same calls of the driver's library made directly.

The library is our stand-in for NVIDIA's, so this is what Python, the pipes and we add; what a real driver takes comes on top, and on both sides.
The floor is another child that makes the calls of one snapshot with nvidia-ml-py and throws the answers away; both are asked in turn.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from benchmarks.measure import Row
from plugins.gpus.nvml import NvmlSource
from tests.fake_nvml.library import build_fake_nvml
from tests.fake_nvml.world import GIB, World

CARDS = 8
SLICES = 7
#: A33 of the design, for the median of 200 snapshots.
GOAL_MS = 5.0


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    return snapshot_rows(quick=quick)


def snapshot_rows(*, quick: bool = False) -> list[Row]:
    """Medians in milliseconds on the wall; the first row with a goal is the one that counts, 8 cards with 2 processes each."""
    pairs = 3 if quick else 200
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        world = World(build_fake_nvml(Path(folder)) / "world")
        with _library(world.path.parent):
            _add_cards(world)
            plain = _measured("snapshot of 8 cards with 2 processes each", pairs)
            _cut_cards(world)
            cut = _measured("snapshot of 8 cards with 7 slices each", max(pairs // 4, 3))
            first = _first_row(3 if quick else 15)
    goal = Row(f"snapshot of 8 cards, median against {GOAL_MS:g} ms", plain.ours, GOAL_MS, "ms", round(plain.ours / GOAL_MS, 3), goal=1.0)
    return [plain, goal, cut, first]


# -------------------------------------------------------------------------------------------------------------------- worlds


def _add_cards(world: World) -> None:
    for index in range(CARDS):
        card = world.add_card(f"GPU-{index:08x}-bench", name="NVIDIA H200", numa_node=index // 4)
        for pid in (os.getpid(), os.getppid()):
            card.add_process(pid, 4 * GIB)
    world.topology = {(one.uuid, two.uuid): 30 for one in world.cards for two in world.cards if one.uuid < two.uuid}
    world.switch_links = {card.uuid: 18 for card in world.cards}
    world.write()


def _cut_cards(world: World) -> None:
    for card in world.cards:
        for number in range(SLICES):
            card.add_slice(f"MIG-{card.uuid}-{number}")
    world.write()


@contextmanager
def _library(folder: Path) -> Iterator[None]:
    """Children started in here find this library."""
    before = os.environ.get("LD_LIBRARY_PATH")
    os.environ["LD_LIBRARY_PATH"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("LD_LIBRARY_PATH")
        if before is not None:
            os.environ["LD_LIBRARY_PATH"] = before


# ----------------------------------------------------------------------------------------------------------------- measuring


def _measured(case: str, pairs: int) -> Row:
    source = NvmlSource()
    with _direct_calls() as direct_ms:
        try:
            found = _in_turn(lambda: _times_ms(source.snapshot), direct_ms, pairs)
        finally:
            source.close()
    return _row(case, *found)


def _first_row(pairs: int) -> Row:
    """From nothing to the first answer, against a Python that imports nvidia-ml-py and opens the library."""
    floor = [sys.executable, "-c", "import pynvml; pynvml.nvmlInit(); pynvml.nvmlDeviceGetCount()"]
    found = _in_turn(_first_snapshot_ms, lambda: _times_ms(lambda: subprocess.run(floor, check=True)), pairs)
    return _row("first snapshot of a fresh source", *found)


def _first_snapshot_ms() -> float:
    source = NvmlSource()
    spent = _times_ms(lambda: source.snapshot(timeout_s=60))
    source.close()
    return spent


def _in_turn(ours: Callable[[], float], floor: Callable[[], float], pairs: int) -> tuple[list[float], list[float]]:
    """A B A B, as ``measure.compare`` does: what else the machine does then weighs on both. One of each goes before and is not counted."""
    ours(), floor()
    measured = [(ours(), floor()) for _ in range(pairs)]
    return [pair[0] for pair in measured], [pair[1] for pair in measured]


def _times_ms(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1000


def _row(case: str, ours: Sequence[float], floor: Sequence[float]) -> Row:
    ratio = statistics.median(one / other for one, other in zip(ours, floor, strict=True))
    p99 = sorted(ours)[math.ceil(len(ours) * 0.99) - 1]
    medians = [round(statistics.median(times), 4) for times in (ours, floor)]
    return Row(case, ours=medians[0], floor=medians[1], unit="ms", ratio=round(ratio, 3), peers={"p99": round(p99, 3)})


# ----------------------------------------------------------------------------------------------------------------- the floor

#: Waits for a line, makes every call of one snapshot, answers how many milliseconds they took.
_DIRECT = """
import sys, time
from pynvml import *

def device(handle):
    nvmlDeviceGetMemoryInfo(handle, version=nvmlMemory_v2)
    nvmlDeviceGetComputeRunningProcesses_v3(handle)
    nvmlDeviceGetGraphicsRunningProcesses_v3(handle)
    nvmlDeviceGetMPSComputeRunningProcesses_v3(handle)
    nvmlDeviceGetComputeMode(handle)

def card(index):
    handle = nvmlDeviceGetHandleByIndex(index)
    nvmlDeviceGetUUID(handle)
    device(handle)
    nvmlDeviceGetFieldValues(handle, [230])
    nvmlDeviceGetTotalEccErrors(handle, 1, 0)
    nvmlDeviceGetRetiredPagesPendingStatus(handle)
    nvmlDeviceGetTemperature(handle, 0)
    nvmlDeviceGetPowerUsage(handle)
    try:
        is_cut = nvmlDeviceGetMigMode(handle)[0]
    except NVMLError:
        is_cut = False
    if not is_cut:
        nvmlDeviceGetRemappedRows(handle)
        nvmlDeviceGetUtilizationRates(handle)
        return
    for number in range(nvmlDeviceGetMaxMigDeviceCount(handle)):
        part = nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        nvmlDeviceGetUUID(part), nvmlDeviceGetName(part), nvmlDeviceGetGpuInstanceId(part), nvmlDeviceGetComputeInstanceId(part)
        device(part)

nvmlInit()
for _ in sys.stdin:
    begin = time.perf_counter()
    for index in range(nvmlDeviceGetCount()):
        card(index)
    print((time.perf_counter() - begin) * 1000, flush=True)
"""


@contextmanager
def _direct_calls() -> Iterator[Callable[[], float]]:
    """A child of its own, as the probe is; gives a function that has it make the calls once."""
    with subprocess.Popen([sys.executable, "-c", _DIRECT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as child:
        requests, answers = cast("IO[bytes]", child.stdin), cast("IO[bytes]", child.stdout)

        def ask() -> float:
            requests.write(b"\n")
            return float(answers.readline())

        yield ask
        requests.close()
