"""From a pid to its containers (A25), and whether it is still the process that was meant."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contracts.gpu import GpuProcess
from runner.gpus.host import boot_id, containers_of, started_at
from runner.gpus.owners import processes_on

ID, INNER = "c0ffee" * 10 + "cafe", "ab" * 32


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        pytest.param(f"12:pids:/docker/{ID}\n0::/docker/{ID}\n", (ID,), id="v1"),
        pytest.param(f"12:pids:/docker/{ID}\n11:devices:/\n0::/\n", (ID,), id="v1, only some controllers"),
        pytest.param(f"0::/docker/{ID}\n", (ID,), id="v2 cgroupfs, also exec'ed"),
        pytest.param(f"0::/system.slice/docker-{ID}.scope\n", (ID,), id="v2 systemd"),
        pytest.param(f"0::/machine.slice/libpod-{ID}.scope/container\n", (ID,), id="podman"),
        pytest.param(f"0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-{ID}.scope\n", (ID,), id="containerd"),
        pytest.param(f"8:pids:/docker/{ID}/docker/{INNER}\n0::/\n", (ID, INNER), id="nested, outermost first"),
        pytest.param("0::/user.slice/user-1000.slice/session-2.scope\n", (), id="host process"),
        pytest.param("", (), id="nothing"),
    ],
)
def test_the_containers_of_a_process_are_read_from_its_control_group(cgroup: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(cgroup)
    assert containers_of(7, tmp_path) == expected


def test_a_process_that_has_gone_is_in_no_place_and_never_started(tmp_path: Path) -> None:
    assert containers_of(8, tmp_path) is None
    assert started_at(8, tmp_path) is None


def test_a_process_of_this_machine_tells_when_it_started() -> None:
    before = time.time()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = started_at(process.pid)
    process.communicate(b"\n")
    assert started is not None
    assert before - 1 < started < time.time() + 1


def test_a_pid_that_was_given_to_another_process_blames_nobody() -> None:
    own = dict.fromkeys(containers_of(os.getpid()) or (), ("t1234567", 1))
    listed = [GpuProcess(os.getpid())]
    (present,) = processes_on(listed, own, taken_at=time.time())
    (reused,) = processes_on(listed, own, taken_at=1.0)
    assert present.containers is not None
    assert (reused.containers, reused.job_id, reused.is_known) == (None, "", False)


def test_of_nested_containers_the_one_that_is_ours_tells_the_job(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(f"0::/docker/{INNER}/docker/{ID}\n")
    (process,) = processes_on([GpuProcess(7)], {ID: ("t1234567", 2)}, proc=tmp_path)
    assert (process.job_id, process.attempt) == ("t1234567", 2)


def test_the_boot_is_named_where_the_system_tells(tmp_path: Path) -> None:
    assert boot_id() == boot_id() != ""
    assert boot_id(tmp_path) == ""
