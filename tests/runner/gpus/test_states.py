"""What the three books say together, and who is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from contracts.gpu import Gpu, GpuProcess, Snapshot
from registry import leases
from registry.gpus import DeviceRecord, PoolRecord
from registry.leases import LeaseRecord, LeaseState
from runner.gpus import Books, CardState, classify

if TYPE_CHECKING:
    from tests.runner.gpus.world import Host

GIB = 1024**3
MOMENT = datetime(2026, 1, 1, tzinfo=timezone.utc)
OURS, OTHER, FOREIGN = "c0ffee" * 10 + "cafe", "ab" * 32, "cd" * 32
LEASE = LeaseRecord(1, "host", "t1234567", 1, ("GPU-0",), LeaseState.ACTIVE, "", MOMENT, container_id=OURS)
ELSEWHERE = LeaseRecord(2, "host", "t7654321", 1, ("GPU-9",), LeaseState.ACTIVE, "", MOMENT, container_id=OTHER)
OWN_CLAIM = {"GPU-0": ("sluice-t1234567-1",)}
#: pid: the container it runs in; 66 is gone.
PIDS = {11: OURS, 22: OTHER, 33: FOREIGN, 44: None}


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    for pid, container in PIDS.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text(f"0::/docker/{container}" if container else "0::/user.slice")
    return tmp_path


def on(*pids: int, command: str = "python train.py") -> dict[str, Any]:
    return {"processes": tuple(GpuProcess(pid, GIB, command) for pid in pids), "used_bytes": GIB * len(pids)}


def device(**values: Any) -> DeviceRecord:
    plain = DeviceRecord("host", "GPU-0", "gpu", "", "H200", "", 80 * GIB, 0, "00", "boot", "570", MOMENT, MOMENT)
    return replace(plain, **values)


def books(gpu: dict[str, Any], held: list[LeaseRecord], claims: dict[str, tuple[str, ...]], proc: Path, **values: Any) -> Books:
    own = {lease.container_id: (lease.job_id, lease.attempt) for lease in held if lease.container_id}
    return Books("host", Snapshot((Gpu("GPU-0", 0, **gpu),)), claims, tuple(held), own=values.pop("own", own), proc=proc, **values)


@pytest.mark.parametrize(
    ("gpu", "held", "claims", "expected"),
    [
        ({}, [], {}, ("free", "")),
        ({"used_bytes": GIB}, [], {}, ("free", "")),
        ({"used_bytes": GIB + 1}, [], {}, ("zombie", "")),
        ({"used_bytes": GIB + 1, "processes": None}, [], {}, ("zombie", "")),
        ({"processes": None}, [], {}, ("free", "")),
        (on(66, command=""), [], {}, ("zombie", "pid 66")),
        (on(66), [], {}, ("foreign", "pid 66 python train.py")),
        (on(44), [], {}, ("foreign", "pid 44 python train.py")),
        (on(33), [], {}, ("foreign", "pid 33 python train.py")),
        (on(44), [], {"GPU-0": ("web",)}, ("foreign", "pid 44 python train.py")),
        ({}, [], {"GPU-0": ("web",)}, ("claimed", "web")),
        ({}, [], {"0": ("by-index",)}, ("claimed", "by-index")),
        ({}, [], {"*": ("given-all",)}, ("claimed", "given-all")),
        ({}, [], {"GPU-1": ("web",), "1": ("web",)}, ("free", "")),
        ({}, [], OWN_CLAIM, ("claimed", "sluice-t1234567-1")),
        ({"error": "fell off", "error_code": "lost"}, [], {}, ("lost", "")),
        ({"error": "fell off", "error_code": "lost"}, [LEASE], {}, ("lost", "t1234567")),
        ({"error": "not yours", "error_code": "no_permission"}, [], {}, ("unknown", "")),
        ({}, [LEASE], {}, ("leased", "t1234567")),
        (on(11), [LEASE], OWN_CLAIM, ("leased", "t1234567")),
        (on(66), [LEASE], OWN_CLAIM, ("leased", "t1234567")),
        (on(11, 44), [LEASE], OWN_CLAIM, ("contended", "t1234567")),
        (on(11, 33), [LEASE], OWN_CLAIM, ("contended", "t1234567")),
        (on(11), [LEASE], {**OWN_CLAIM, "0": ("web",)}, ("contended", "t1234567")),
        ({}, [LEASE], {"*": ("given-all",)}, ("contended", "t1234567")),
        ({}, [LEASE], {"GPU-0": ("sluice-t1234567-2",)}, ("contended", "t1234567")),
        (on(22), [ELSEWHERE], {}, ("violated", "t7654321")),
        (on(11, 22), [LEASE, ELSEWHERE], OWN_CLAIM, ("violated", "t1234567")),
        (on(22, 44), [ELSEWHERE], {}, ("violated", "t7654321")),
        ({}, [replace(LEASE, state=LeaseState.STUCK)], {}, ("stuck", "t1234567")),
        ({}, [replace(LEASE, state=LeaseState.RELEASING)], {}, ("leased", "t1234567")),
        ({"mig_enabled": True, **on(44)}, [], {}, ("mig", "")),
        ({"mig_enabled": False, "mig_pending": True}, [], {}, ("drained", "")),
        ({"compute_mode": "prohibited"}, [], {}, ("prohibited", "")),
        ({"recovery_action": "reset"}, [], {}, ("quarantined", "")),
        ({"remap_failed": True}, [], {}, ("quarantined", "")),
        ({"retirement_pending": True}, [], {}, ("drained", "")),
    ],
)
def test_the_state_of_a_card(
    gpu: dict[str, Any], held: list[LeaseRecord], claims: dict[str, tuple[str, ...]], expected: tuple[str, str], proc: Path
) -> None:
    (card, *_) = classify(books(gpu, held, claims, proc))
    assert (str(card.state), card.holder) == expected
    assert card.reason or expected[0] in ("free", "leased")


def test_a_container_of_a_job_on_record_without_a_lease_is_an_orphan(proc: Path) -> None:
    """A27: a database that was restored from a backup has the job and not its lease."""
    unleased = {"sluice-t1234567-1": ("t1234567", 1)}
    claimed = books({}, [], OWN_CLAIM, proc, unleased=unleased)
    running = books(on(11), [], {}, proc, own={OURS: ("t1234567", 1)})
    for found in (claimed, running):
        (card,) = classify(found)
        assert (card.state, card.holder) == (CardState.ORPHAN, "t1234567")


def test_a_foreign_container_given_leased_cards_by_index_is_named(proc: Path) -> None:
    """A27: `docker run --gpus 2` always means the first two cards, whoever holds them."""
    (card,) = classify(books({}, [LEASE], {**OWN_CLAIM, "0": ("web",), "1": ("web",)}, proc))
    assert card.state is CardState.CONTENDED
    assert card.reason == "job t1234567 shares the card with the container web, which holds no lease on it"


def test_all_who_have_no_business_on_a_leased_card_are_named(proc: Path) -> None:
    (card,) = classify(books(on(11, 33, 44), [LEASE], {**OWN_CLAIM, "0": ("web",), "*": ("old", "web")}, proc))
    assert card.state is CardState.CONTENDED
    strangers = "the process pid 33 python train.py and 1 more and the containers old, web"
    assert card.reason == f"job t1234567 shares the card with {strangers}, which hold no lease on it"
    assert card.containers == ("old", "sluice-t1234567-1", "web")


def test_all_containers_that_were_given_a_card_without_a_lease_are_named(proc: Path) -> None:
    (card,) = classify(books({}, [], {"GPU-0": ("old", "web")}, proc))
    assert (card.holder, card.reason) == ("old, web", "the containers old, web were given the card without a lease")


@pytest.mark.parametrize(
    ("device", "pools", "expected"),
    [
        (device(drained=True), {}, "drained by an operator"),
        (device(pool="a"), {"a": PoolRecord("a", drained=True)}, "the pool a is drained"),
        (device(pool="gone"), {}, "the pool gone is drained"),
        (device(reasons=({"reason": "xid 79", "effect": "lost", "text": "Xid 79"},)), {}, "Xid 79"),
    ],
)
def test_what_is_on_record_of_a_device_keeps_it_from_jobs(
    device: DeviceRecord, pools: dict[str, PoolRecord], expected: str, proc: Path
) -> None:
    (card,) = classify(books({}, [], {}, proc, devices={"GPU-0": device}, pools=pools))
    assert card.state in (CardState.DRAINED, CardState.QUARANTINED)
    assert card.reason == expected


def test_what_is_said_of_a_card_holds_for_its_slices(proc: Path) -> None:
    card, part = Gpu("GPU-0", 0, mig_enabled=True), Gpu("MIG-0", 0, kind="mig", parent_uuid="GPU-0")
    drained = Books("host", Snapshot((card, part)), devices={"GPU-0": device(drained=True, pool="a")}, pools={"a": PoolRecord("a")})
    broken = Books("host", Snapshot((replace(card, recovery_action="reset"), part)))
    assert [books.cards[1].state for books in (drained, broken)] == [CardState.DRAINED, CardState.QUARANTINED]
    assert drained.cards[1].pool == "a"


def test_a_lost_card_keeps_its_name_and_size(proc: Path) -> None:
    (card,) = classify(books({"error": "fell off", "error_code": "lost"}, [], {}, proc, devices={"GPU-0": device()}))
    assert (card.gpu.name, card.gpu.total_bytes, card.health) == ("H200", 80 * GIB, "lost")


def test_a_leased_card_that_is_no_longer_there_is_missing_and_names_its_job(proc: Path) -> None:
    here, gone = classify(Books("host", Snapshot((Gpu("GPU-1", 1),)), leases=(LEASE,)))
    assert (here.state, gone.state) == (CardState.FREE, CardState.MISSING)
    assert (gone.gpu.uuid, gone.holder) == ("GPU-0", "t1234567")


def test_a_process_of_a_job_without_an_engines_container_cannot_be_told_apart(proc: Path) -> None:
    (card,) = classify(books(on(44), [replace(LEASE, container_id="4711")], {}, proc))
    assert card.state is CardState.LEASED


def test_a_job_that_uses_more_of_a_shared_card_than_it_declared_is_named(proc: Path) -> None:
    (card,) = classify(books(on(11, 11), [replace(LEASE, shared_bytes=GIB)], OWN_CLAIM, proc))
    assert (card.state, card.reason) == (CardState.LEASED, "job t1234567 uses 2.0 GiB of the shared card and declared 1.0 GiB")


def test_cards_are_listed_as_the_doors_show_them(host: Host) -> None:
    """A10 in part: everything that is known of a card, and whose its processes are."""
    host.start("t0000001", pid=101)
    host.put("GPU-1", host.run(202, FOREIGN), utilization_fraction=0.5, temperature_c=41)
    ours, foreign = host.pool.list_gpus()[:2]
    assert (ours["state"], ours["job"], ours["jobs"]) == ("leased", "t0000001", ["t0000001"])
    assert ours["pids"] == [{"pid": 101, "command": "python 101", "used_bytes": GIB, "container": "sluice-t0000001-1", "job": "t0000001"}]
    assert foreign["pids"] == [{"pid": 202, "command": "python 202", "used_bytes": GIB, "container": FOREIGN[:12], "job": None}]
    assert {"processes", "error"}.isdisjoint(foreign)
    assert (foreign["temperature_c"], foreign["pool"], foreign["drained"], foreign["health"], foreign["health_reasons"]) == (
        41,
        "",
        False,
        "ok",
        [],
    )


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
