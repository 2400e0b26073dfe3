"""The last look before a container starts, and the lock of the host."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts.errors import ConfigurationError, EngineGoneError, NoGpuError, StartError
from registry import leases
from registry.leases import LeaseState
from runner.gpus.lock import host_lock
from tests.runner.gpus.world import container_of

if TYPE_CHECKING:
    from tests.runner.gpus.world import Host


def test_a_started_job_has_an_active_lease_with_its_container(host: Host) -> None:
    host.add_job("t0000001", container_id=container_of("t0000001"))
    host.pool.lease("t0000001", 1, 1)
    with host.pool.confirm_start("t0000001", 1):
        during = host.lease_of("t0000001")
    assert (during.state, during.container_id) == (LeaseState.STARTING, container_of("t0000001"))
    assert host.lease_of("t0000001").state is LeaseState.ACTIVE


@pytest.mark.parametrize("who", ["process", "container", "lost", "memory"])
def test_a_card_that_somebody_took_after_the_lease_is_not_started_on(host: Host, who: str) -> None:
    host.pool.lease("t0000001", 1, 1)
    if who == "process":
        host.put("GPU-0", host.run(4711))
    elif who == "container":
        host.give("web", "0")
    else:
        host.set_card(0, **({"error": "fell off", "error_code": "lost"} if who == "lost" else {"used_bytes": 2**33}))
    with pytest.raises(NoGpuError, match=r"taken before it started: gpu0 (foreign pid 4711|claimed web|lost|zombie)"):
        host.start("t0000001")
    assert [event["job"] for event in host.events("contended")] == ["t0000001"]
    assert host.pool.release("t0000001", 1)


def test_a_drained_card_is_started_on_by_who_has_it(host: Host) -> None:
    host.pool.lease("t0000001", 1, 1)
    host.pool.drain("GPU-0")
    assert host.start("t0000001") == ("GPU-0",)


def test_a_start_that_fails_leaves_a_lease_that_is_not_active(host: Host) -> None:
    host.pool.lease("t0000001", 1, 1)
    with pytest.raises(StartError), host.pool.confirm_start("t0000001", 1):
        raise StartError("no such runtime")
    assert host.lease_of("t0000001").state is LeaseState.STARTING
    assert host.pool.release("t0000001", 1)


def test_a_runner_that_was_killed_after_the_start_carries_on(host: Host) -> None:
    host.start("t0000001", pid=101)
    with host.database.writing() as session:
        leases.mark(session, "t0000001", 1, LeaseState.STARTING)
    host.give("web", "0")  # the container runs: nothing that was there before it can be kept from it now
    with host.pool.confirm_start("t0000001", 1, container_of("t0000001")):
        pass
    assert host.lease_of("t0000001").state is LeaseState.ACTIVE


def test_without_a_lease_nothing_is_started(host: Host) -> None:
    with pytest.raises(NoGpuError, match="holds no GPUs any more"), host.pool.confirm_start("t0000001", 1):
        raise AssertionError("it started")


def test_nothing_is_started_while_the_engine_is_away(host: Host) -> None:
    host.pool.lease("t0000001", 1, 1)
    host.engine_away = True
    with pytest.raises(EngineGoneError), host.pool.confirm_start("t0000001", 1):
        raise AssertionError("it started")


def test_two_installations_do_not_both_start_on_a_card(host: Host, hosts: type[Host]) -> None:
    """Each has leases of its own and sees the other only by what runs: between look and start, the lock of the host keeps them apart."""
    other = hosts(4)
    other.claims = host.claims  # one engine
    host.pool.lease("t0000001", 1, 1)
    other.pool.lease("t0000002", 1, 1)
    with ThreadPoolExecutor(1) as threads:
        with host.pool.confirm_start("t0000001", 1, container_of("t0000001")):
            second = threads.submit(other.start, "t0000002")
            other.give("sluice-t0000001-1", "GPU-0")
        with pytest.raises(NoGpuError, match="gpu0 claimed sluice-t0000001-1"):
            second.result()


# ---------------------------------------------------------------------------------------------------------------- the lock


def test_the_lock_is_held_against_other_programs_and_goes_with_its_holder(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    code = f"import pathlib, runner.gpus.lock as l\nwith l.host_lock(pathlib.Path({str(file)!r})): print('held', flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(NoGpuError, match="another program has held the lock"), host_lock(file, patience_s=0):
        raise AssertionError("two have it")
    holder.kill()
    holder.communicate()
    with host_lock(file, patience_s=0):
        assert file.stat().st_mode & 0o777 == 0o644


def test_where_the_hosts_lock_cannot_be_opened_the_user_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with host_lock(tmp_path / "missing" / "lock"):
        assert (tmp_path / f"sluice-gpu-{os.getuid()}.lock").exists()


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(ConfigurationError, match="can be opened"), host_lock(tmp_path / "lock"):
        raise AssertionError("it was followed")
    assert not (tmp_path / "precious").exists()
