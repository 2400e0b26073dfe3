"""Devices, events and pools as they are kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, NotFoundError, RequestError
from registry import gpus
from registry.gpus import DeviceRecord, PoolRecord
from registry.tables import now

MOMENT = datetime(2026, 1, 1, tzinfo=timezone.utc)


def device(uuid: str = "GPU-0", **values: object) -> DeviceRecord:
    plain = DeviceRecord("host", uuid, "gpu", "", "H200", "", 141, 0, "00:1f", "boot", "570", MOMENT, MOMENT)
    return replace(plain, **values)  # type: ignore[arg-type]


def test_a_device_is_read_as_it_was_saved(session: Session) -> None:
    saved = device(missing_since=MOMENT, health="lost", reasons=({"reason": "xid 79"},), counters={"ecc": None, "state": "free"})
    gpus.save_devices(session, [saved, device("GPU-1", index=1, host="elsewhere")])
    assert gpus.list_devices(session, "host") == [saved]


def test_saving_again_keeps_what_an_operator_said_and_when_it_was_first_seen(session: Session) -> None:
    gpus.save_devices(session, [device()])
    gpus.set_device(session, "host", "GPU-0", drained=True, pool="labs")
    gpus.save_devices(session, [device(index=5, health="suspect", first_seen=now(), last_seen=now())])
    session.expire_all()
    (kept,) = gpus.list_devices(session, "host")
    assert (kept.index, kept.health, kept.drained, kept.pool, kept.first_seen) == (5, "suspect", True, "labs", MOMENT)


def test_an_unknown_device_cannot_be_changed_and_a_forgotten_one_is_gone(session: Session) -> None:
    with pytest.raises(NotFoundError, match="host has no GPU GPU-0"):
        gpus.set_device(session, "host", "GPU-0", drained=True)
    gpus.save_devices(session, [device(), device("GPU-1")])
    gpus.remove_devices(session, "host", ["GPU-0", "GPU-9"])
    assert [kept.uuid for kept in gpus.list_devices(session, "host")] == ["GPU-1"]


def test_events_are_listed_newest_first_of_one_device_job_or_host(session: Session) -> None:
    gpus.add_event(session, "host", "GPU-0", "xid", job_id="t1", detail={"xid": 79})
    gpus.add_event(session, "host", "GPU-1", "state")
    gpus.add_event(session, "elsewhere", "GPU-0", "state")
    assert [event.host for event in gpus.list_events(session)] == ["elsewhere", "host", "host"]
    assert [event.uuid for event in gpus.list_events(session, host="host")] == ["GPU-1", "GPU-0"]
    assert [event.kind for event in gpus.list_events(session, host="host", uuid="GPU-0")] == ["xid"]
    assert [event.detail for event in gpus.list_events(session, job_id="t1")] == [{"xid": 79}]
    assert len(gpus.list_events(session, limit=2)) == 2


def test_events_of_long_ago_are_forgotten_of_one_host_only(session: Session) -> None:
    for host in ("host", "elsewhere"):
        gpus.add_event(session, host, "GPU-0", "state")
    gpus.remove_events(session, "host", now() - timedelta(days=1))
    assert len(gpus.list_events(session)) == 2
    gpus.remove_events(session, "host", now() + timedelta(days=1))
    assert [event.host for event in gpus.list_events(session)] == ["elsewhere"]


def test_a_pool_is_made_with_defaults_and_changed_by_what_is_given(session: Session) -> None:
    assert gpus.put_pool(session, "labs") == PoolRecord("labs")
    gpus.put_pool(session, "labs", purpose="x", slots=4, max_gpus_per_user=2, users=["b", "a", "a"], kinds=["training"])
    changed = gpus.put_pool(session, "labs", max_gpus_per_user=gpus.NO_LIMIT, max_gpus_per_project=0, drained=True, kinds=[])
    assert changed == PoolRecord("labs", "x", 4, None, 0, ("a", "b"), drained=True)
    assert gpus.list_pools(session) == [changed] == [gpus.get_pool(session, "labs", lock=True)]


@pytest.mark.parametrize("name", ["", " ", "a/b", "labs\n", "x" * 65, "-labs"])
def test_a_pool_has_a_name_that_can_be_typed(session: Session, name: str) -> None:
    with pytest.raises(RequestError, match="cannot be the name of a pool"):
        gpus.put_pool(session, name)


@pytest.mark.parametrize("values", [{"slots": 0}, {"slots": 65}, {"max_gpus_per_user": -2}, {"max_gpus_per_project": 2**31}])
def test_a_value_that_makes_no_sense_changes_nothing(session: Session, values: dict[str, int]) -> None:
    with pytest.raises(RequestError):
        gpus.put_pool(session, "labs", **values)
    assert gpus.list_pools(session) == []


def test_the_slices_of_a_card_are_in_its_pool_unless_they_are_in_one_of_their_own(session: Session) -> None:
    parts = [device(f"MIG-{number}", kind="mig", parent_uuid="GPU-0") for number in range(2)]
    gpus.save_devices(session, [device(pool="labs"), replace(parts[0], pool="other"), parts[1]])
    assert gpus.members_of(session, "labs") == {("host", "GPU-0"), ("host", "MIG-1")}
    assert gpus.members_of(session, "other") == {("host", "MIG-0")}


def test_an_unknown_pool_is_refused_with_the_known_ones_and_one_in_use_stays(session: Session) -> None:
    gpus.put_pool(session, "labs")
    with pytest.raises(NotFoundError, match="no GPU pool 'lab'") as caught:
        gpus.get_pool(session, "lab")
    assert caught.value.hint == "Known: labs."
    gpus.save_devices(session, [device(pool="labs")])
    with pytest.raises(ConflictError, match="is not empty: GPU-0"):
        gpus.remove_pool(session, "labs")
    gpus.set_device(session, "host", "GPU-0", pool="")
    gpus.remove_pool(session, "labs")
    with pytest.raises(NotFoundError):
        gpus.remove_pool(session, "labs")
