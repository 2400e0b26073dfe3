"""The probe as a process: hangs, crashes, replacements, and what it must not do to the host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts.errors import GpuSourceError
from plugins.gpus import nvml_process
from plugins.gpus.nvml import NvmlSource
from tests.conformance.gpu_source import card

if TYPE_CHECKING:
    from tests.plugins.gpus.conftest import NvmlWorld

COUNT = "nvmlDeviceGetCount_v2"


@pytest.fixture
def source(nvml_source: NvmlSource) -> NvmlSource:
    return nvml_source


@pytest.fixture
def world(nvml_world: NvmlWorld) -> NvmlWorld:
    nvml_world.set_cards([card(0)])
    return nvml_world


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()]


def probe_pid(source: NvmlSource) -> int:
    """The child of this process that runs the probe."""
    source.snapshot(timeout_s=30)
    (pid,) = [pid for pid in children() if b"nvml_probe" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return pid


def hang(world: NvmlWorld, *, on: bool = True) -> None:
    world.delays_ms = {COUNT: 60_000} if on else {}
    world.write()


# --------------------------------------------------------------------------------------------------------------- it hangs


def test_a_hang_after_good_answers_is_cut_off_and_the_next_reading_works(source: NvmlSource, world: NvmlWorld) -> None:
    """A12."""
    first = probe_pid(source)
    hang(world)
    with pytest.raises(GpuSourceError, match="within 1 s"):
        source.snapshot(timeout_s=1.0)
    hang(world, on=False)
    assert probe_pid(source) != first


def test_a_driver_that_keeps_hanging_leaves_no_process_that_can_be_killed(source: NvmlSource, world: NvmlWorld) -> None:
    """A12."""
    before = len(children())
    hang(world)
    for _ in range(4):
        with pytest.raises(GpuSourceError, match=r"within 0\.5 s"):
            source.snapshot(timeout_s=0.5)
        assert len(source._abandoned) <= 2
    source.close()
    assert len(children()) == before


def test_a_probe_that_cannot_be_killed_is_not_waited_for_and_at_most_two_are_left(source: NvmlSource, world: NvmlWorld) -> None:
    """A12. Only a broken driver makes such a process; two that nobody kills stand for them."""
    immortal = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(2)]
    source._abandoned.extend(immortal)
    with pytest.raises(GpuSourceError) as caught:
        source.snapshot()
    assert caught.value.fields["pids"] == [process.pid for process in immortal]
    immortal[0].communicate(b"\n")
    assert len(source.snapshot().gpus) == 1
    immortal[1].communicate(b"\n")


def test_a_thread_that_waits_for_a_hanging_one_is_in_time_too(source: NvmlSource, world: NvmlWorld) -> None:
    hang(world)
    with source._lock, pytest.raises(GpuSourceError, match="within 1 s"):
        source.snapshot(timeout_s=1.0)


def test_events_do_not_wait_for_a_reading_that_hangs(source: NvmlSource, world: NvmlWorld) -> None:
    source.snapshot()
    hang(world)
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(source.snapshot, 3.0)
        while not source._lock.locked():
            time.sleep(0.01)
        assert source.events() == []
        assert not reading.done()
        assert isinstance(reading.exception(), GpuSourceError)


LATE = """
import sys
print('{"id": 1, "cards": []}\\n{"event": {"uuid": "GPU-0", "xid": 79, "time": 1.0}}\\n{"eve', end="", flush=True)
sys.stdin.read()
"""


def test_an_answer_that_came_too_late_is_dropped_and_the_events_behind_it_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml_process, "COMMAND", (sys.executable, "-c", LATE))
    heard: list[dict[str, object]] = []
    probe = nvml_process.ProbeProcess(heard.append)
    deadline = time.monotonic() + 30
    while not heard and time.monotonic() < deadline:
        probe.hear()
    probe.kill().wait()
    assert [event["xid"] for event in heard] == [79]


# ------------------------------------------------------------------------------------------------- it ends, and is replaced


def test_a_probe_killed_from_outside_is_replaced(source: NvmlSource, world: NvmlWorld) -> None:
    first = probe_pid(source)
    os.kill(first, signal.SIGKILL)
    while Path(f"/proc/{first}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
        time.sleep(0.01)
    assert source.events() == []
    assert probe_pid(source) != first


def test_a_probe_killed_while_it_is_asked_is_replaced_in_the_same_call(source: NvmlSource, world: NvmlWorld) -> None:
    first = probe_pid(source)
    os.kill(first, signal.SIGSTOP)

    def kill_when_asked() -> None:
        while not source._lock.locked():
            time.sleep(0.01)
        os.kill(first, signal.SIGKILL)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(kill_when_asked)
        assert probe_pid(source) != first


def test_a_library_that_crashes_is_an_error_and_the_next_reading_works(source: NvmlSource, world: NvmlWorld) -> None:
    world.crashing = [COUNT]
    world.write()
    with pytest.raises(GpuSourceError, match="ended without an answer") as caught:
        source.snapshot()
    assert "nvml_probe" in caught.value.hint
    world.crashing = []
    world.write()
    assert len(source.snapshot().gpus) == 1


def test_what_the_library_prints_does_not_disturb_the_answers(source: NvmlSource, world: NvmlWorld) -> None:
    world.saying = [COUNT, "nvmlInitWithFlags", "nvmlEventSetWait_v2"]
    world.write()
    assert [len(source.snapshot().gpus) for _ in range(3)] == [1, 1, 1]


def test_the_probe_is_kept_while_all_is_well_and_replaced_once_a_minute_while_a_card_is_broken(
    source: NvmlSource, world: NvmlWorld
) -> None:
    first = probe_pid(source)
    assert probe_pid(source) == first
    world.cards[0].is_lost = True
    world.write()
    for _ in range(3):
        source.snapshot()
    second = probe_pid(source)
    assert second != first
    assert [probe_pid(source) for _ in range(4)] == [second] * 4


def test_a_card_that_this_user_may_not_read_does_not_cost_the_probe(source: NvmlSource, world: NvmlWorld) -> None:
    first = probe_pid(source)
    world.cards[0].errors = {"*": 4}
    world.write()
    assert [probe_pid(source) for _ in range(4)] == [first] * 4


def test_no_process_stays_on_a_host_without_gpus(source: NvmlSource, world: NvmlWorld) -> None:
    world.set_cards([])
    before = children()
    assert source.snapshot().gpus == ()
    assert children() == before


def test_after_close_no_process_is_left(source: NvmlSource, world: NvmlWorld) -> None:
    pid = probe_pid(source)
    source.close()
    assert not Path(f"/proc/{pid}").exists()


# ----------------------------------------------------------------------------------------------------------- what it is given


def test_the_probe_gets_nothing_of_our_environment_but_what_it_needs(
    source: NvmlSource, world: NvmlWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    monkeypatch.setenv("PYTHONPATH", str(world.path.parent))
    given = Path(f"/proc/{probe_pid(source)}/environ").read_bytes().split(b"\0")
    assert {variable.split(b"=")[0] for variable in given if variable} <= {b"PATH", b"HOME", b"LD_LIBRARY_PATH", b"LC_ALL"}


def test_a_module_in_the_users_folder_is_not_imported(
    source: NvmlSource, world: NvmlWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pynvml.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    assert len(source.snapshot().gpus) == 1


def test_the_probe_ends_when_its_parent_is_killed(world: NvmlWorld) -> None:
    code = "from plugins.gpus.nvml import NvmlSource\ns = NvmlSource()\ns.snapshot()\nprint(s._probe._process.pid, flush=True)\ninput()"
    root = Path(__file__).resolve().parents[3]
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
