"""What the three books say together, and who is named."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from contracts.gpu import Gpu, GpuProcess
from registry import leases
from registry.leases import LeaseRecord, LeaseState
from registry.tables import now
from runner.gpus import CardState, Reading, classify, containers_of

if TYPE_CHECKING:
    from tests.runner.gpus.conftest import Host

GIB = 1024**3
LEASE = LeaseRecord(1, "host", "t1234567", 1, ("GPU-0",), LeaseState.ACTIVE, "", now())
STRANGER = GpuProcess(4194000, GIB, "python train.py")
CONTAINER = "c0ffee" * 10 + "cafe"


def state(gpu: dict[str, Any], held: list[LeaseRecord], claims: dict[str, str]) -> tuple[str, str]:
    (card,) = classify(Reading((Gpu("GPU-0", 0, **gpu),), claims), held)
    return str(card.state), card.holder


@pytest.mark.parametrize(
    ("gpu", "held", "claims", "expected"),
    [
        ({}, [], {}, ("free", "")),
        ({"used_bytes": GIB}, [], {}, ("free", "")),
        ({"used_bytes": GIB + 1}, [], {}, ("zombie", "")),
        ({"processes": (STRANGER,)}, [], {}, ("foreign", "pid 4194000 python train.py")),
        ({"processes": (STRANGER,)}, [], {"GPU-0": "web"}, ("foreign", "pid 4194000 python train.py")),
        ({}, [], {"GPU-0": "web"}, ("claimed", "web")),
        ({}, [], {"0": "by-index"}, ("claimed", "by-index")),
        ({}, [], {"*": "given-all"}, ("claimed", "given-all")),
        ({}, [], {"GPU-1": "web", "1": "web"}, ("free", "")),
        ({}, [], {"GPU-0": "sluice-t1234567-1"}, ("claimed", "sluice-t1234567-1")),
        ({"error": "lost"}, [], {}, ("lost", "")),
        ({"error": "lost"}, [LEASE], {}, ("lost", "t1234567")),
        ({}, [LEASE], {}, ("leased", "t1234567")),
        ({"processes": (STRANGER,), "used_bytes": GIB}, [LEASE], {"GPU-0": "sluice-t1234567-1"}, ("leased", "t1234567")),
        ({}, [LEASE], {"GPU-0": "web"}, ("contended", "t1234567")),
        ({}, [LEASE], {"*": "given-all"}, ("contended", "t1234567")),
        ({}, [LEASE], {"GPU-0": "sluice-t1234567-2"}, ("contended", "t1234567")),
    ],
)
def test_the_state_of_a_card(gpu: dict[str, Any], held: list[LeaseRecord], claims: dict[str, str], expected: tuple[str, str]) -> None:
    assert state(gpu, held, claims) == expected


def test_every_state_but_free_and_leased_has_a_reason() -> None:
    reading = Reading(
        (Gpu("GPU-0", 0, used_bytes=2 * GIB), Gpu("GPU-1", 1, error="x"), Gpu("GPU-2", 2, processes=(STRANGER,))), {"*": "web"}
    )
    assert all(card.reason for card in classify(reading, [LEASE]))


def test_a_leased_card_that_is_no_longer_there_is_lost_and_names_its_job() -> None:
    here, gone = classify(Reading((Gpu("GPU-1", 0),), {}), [LEASE])
    assert (here.state, gone.state) == (CardState.FREE, CardState.LOST)
    assert (gone.gpu.uuid, gone.holder) == ("GPU-0", "t1234567")


def test_a_host_process_on_the_card_of_a_containers_job_is_a_stranger() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    held = replace(LEASE, container_id=CONTAINER)
    seen = state({"processes": (GpuProcess(process.pid),)}, [held], {"GPU-0": "sluice-t1234567-1"})
    process.communicate(b"\n")
    assert seen == ("contended", "t1234567")


def test_a_process_that_has_gone_and_one_of_a_job_without_container_count_as_the_jobs_own() -> None:
    gone = {"processes": (STRANGER,)}  # above the highest pid
    assert state(gone, [replace(LEASE, container_id=CONTAINER)], {}) == ("leased", "t1234567")
    assert state({"processes": (GpuProcess(os.getpid()),)}, [replace(LEASE, container_id="4711")], {}) == ("leased", "t1234567")


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        (f"12:pids:/docker/{CONTAINER}\n0::/docker/{CONTAINER}\n", (CONTAINER,)),
        (f"0::/system.slice/docker-{CONTAINER}.scope\n", (CONTAINER,)),
        (f"0::/machine.slice/libpod-{CONTAINER}.scope/container\n", (CONTAINER,)),
        (f"8:pids:/docker/{CONTAINER}/docker/{'ab' * 32}\n0::/\n", (CONTAINER, "ab" * 32)),
        ("0::/user.slice/user-1000.slice/session-2.scope\n", ()),
        ("", ()),
    ],
)
def test_the_containers_of_a_process_are_read_from_its_control_group(cgroup: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(cgroup)
    assert containers_of(7, tmp_path) == expected
    assert containers_of(8, tmp_path) is None


def test_cards_are_listed_as_the_doors_show_them(host: Host) -> None:
    host.set_card(1, used_bytes=5 * GIB, utilization_fraction=0.5, temperature_c=41)
    card = host.pool.list_gpus()[1]
    assert card == {
        "uuid": "GPU-1",
        "index": 1,
        "name": "Fake GPU",
        "total_bytes": 80 * GIB,
        "used_bytes": 5 * GIB,
        "utilization_fraction": 0.5,
        "temperature_c": 41,
        "state": "zombie",
        "holder": "",
        "reason": "5.0 GiB are used though no process is on the card",
    }


def test_without_the_engine_no_card_is_called_free_but_all_are_shown(host: Host) -> None:
    host.pool.lease("t0000001", 1, 1)
    host.engine_away = True
    assert host.states() == ["leased", "unknown", "unknown", "unknown"]


def test_a_host_without_cards_is_shown_without_asking_the_engine(host: Host) -> None:
    host.cards, host.engine_away = [], True
    host.write()
    assert host.pool.list_gpus() == []
    assert host.pool.total() == 0


def test_a_lease_of_another_host_does_not_count_here(host: Host) -> None:
    with host.database.writing() as session:
        leases.take(session, "elsewhere", "t0000001", 1, ["GPU-0"])
    assert host.states() == ["free"] * 4
