"""Who has which card, where containers really run: foreign ones, ours, and those that nobody remembers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from contracts.errors import NoGpuError, StartError
from contracts.job import GpuWish
from runner.gpus import LeaseHolder, Orphan, Violated
from runner.gpus.host import containers_of
from tests.docker.gpus.books import Host
from tests.docker.gpus.lab import PATIENCE_S, hide_from_toolkit
from tests.docker.gpus.private_engine import until
from tests.fake_nvml.world import Card, World

pytestmark = pytest.mark.docker


# ------------------------------------------------------------------------------------------------------------ foreign use


def test_jobs_take_the_cards_beside_a_foreign_container_and_who_needs_its_card_is_told_of_it(host: Host, uuids: list[str]) -> None:
    with host.lab.foreign({"DeviceIDs": [uuids[2]]}):
        assert uuids[2] not in host.start_job("seven", 7)
        assert host.end_job("seven")
        with pytest.raises(NoGpuError, match="8 GPUs are asked for, 7 of 8 free: gpu2 foreign pid"):
            host.pool.lease("eight", 1, 8)
    assert len(host.pool.lease("eight", 1, 8)) == 8


def test_a_card_that_a_foreign_container_was_given_is_never_chosen_even_before_it_is_used(host: Host, uuids: list[str]) -> None:
    with host.lab.foreign({"DeviceIDs": [uuids[6]]}, used_bytes=0):
        taken = [host.pool.lease(f"job{number}", 1, 1)[0] for number in range(7)]
        assert uuids[6] not in taken
        assert (host.cards()[uuids[6]]["state"], host.cards()[uuids[6]]["holder"]) == ("claimed", "foreign")
        with pytest.raises(NoGpuError, match="gpu6 claimed foreign"):
            host.pool.lease("one-more", 1, 1)


def test_a_foreign_container_that_comes_between_lease_and_start_keeps_the_job_from_starting(host: Host, uuids: list[str]) -> None:
    host.add_job("late")
    leased = host.pool.lease("late", 1, 1)
    with host.lab.foreign({"DeviceIDs": list(leased)}, used_bytes=0):
        with pytest.raises(NoGpuError, match="taken before it started"):
            host.start_on("late", leased)
        assert host.lab.engine.status("sluice-late-1").state == "created"
        assert host.end_job("late")
        assert host.pool.lease("late", 1, 1) != leased


def test_a_foreign_container_on_leased_cards_is_named_with_the_job_that_it_disturbs(host: Host, uuids: list[str]) -> None:
    host.start_job("ours", 2)
    with host.lab.foreign({"Count": 2}, used_bytes=0, name="intruder"):  # Docker's count always means the first cards
        for uuid in uuids[:2]:
            card = host.cards()[uuid]
            assert (card["state"], card["job"]) == ("contended", "ours")
            assert "job ours shares the card with the container intruder" in card["reason"]
    assert host.states()[:2] == ["leased", "leased"]


def test_a_foreign_container_that_was_given_the_very_card_of_a_job_is_named_before_it_has_a_process_there(
    host: Host, uuids: list[str]
) -> None:
    """A27, by uuid: the engine gives a card to whoever asks for it."""
    (uuid,) = host.start_job("ours", 1)
    with host.lab.foreign({"DeviceIDs": [uuid]}, used_bytes=0, name="intruder"):
        card = host.cards()[uuid]
        assert (card["state"], card["containers"]) == ("contended", ["intruder", "sluice-ours-1"])
        assert [process["job"] for process in card["pids"]] == ["ours"]
        assert card["reason"] == "job ours shares the card with the container intruder, which holds no lease on it"
    assert host.states()[0] == "leased"


def test_of_two_jobs_that_share_a_card_one_may_end_and_the_other_keeps_its_part(host: Host, uuids: list[str]) -> None:
    host.pool.put_pool("shared", slots=2)
    host.pool.assign(uuids[0], "shared")
    wish = GpuWish(pool="shared", shared_bytes=2**30)
    for job_id in ("one", "two"):
        assert host.start_job(job_id, 1, wish) == (uuids[0],)
    card = host.cards()[uuids[0]]
    assert (card["state"], card["containers"]) == ("leased", ["sluice-one-1", "sluice-two-1"])
    assert host.pool.reclaim(lambda *_: False) == []
    assert host.end_job("one")
    assert host.cards()[uuids[0]]["holder"] == "two"


def test_a_foreign_container_that_was_given_all_cards_leaves_none_to_lease(host: Host) -> None:
    with host.lab.foreign({"Count": -1}, used_bytes=0):
        assert set(host.states()) == {"claimed"}


# ------------------------------------------------------------------------------------------------------------- our own use


def test_a_job_is_seen_on_its_cards_from_lease_to_end(host: Host, uuids: list[str]) -> None:
    leased = host.start_job("ours", 2)
    card = host.cards()[leased[0]]
    assert (card["state"], card["holder"]) == ("leased", "ours")
    assert [(process["container"], process["job"]) for process in card["pids"]] == [("sluice-ours-1", "ours")]
    assert host.end_job("ours")
    assert set(host.states()) == {"free"}


def test_slices_are_leased_one_by_one_and_given_by_their_uuid_and_the_cut_card_is_not_offered(
    host: Host, uuids: list[str], slices: list[str], cut_card: Card
) -> None:
    wish = GpuWish(mig_profile="1g.10gb")
    leased = [host.start_job(f"job{number}", 1, wish)[0] for number in range(3)]
    assert leased == slices[:3]
    assert host.lab.engine.status("sluice-job2-1").gpu_uuids == (slices[2],)
    states = {uuid: card["state"] for uuid, card in host.cards().items()}
    assert states[cut_card.uuid] == "mig"
    assert [states[uuid] for uuid in slices[:4]] == ["leased", "leased", "leased", "free"]
    assert set(host.pool.lease("whole", 1, 8)) == set(uuids)


def test_a_process_of_our_container_on_a_card_that_it_was_not_given_is_told_with_job_and_pid(
    host: Host, world: World, uuids: list[str]
) -> None:
    host.start_job("greedy", 1)
    pid = host.cards()[uuids[0]]["pids"][0]["pid"]
    world.occupy(uuids[5], pid)
    findings = host.pool.reconcile([LeaseHolder("greedy", 1, container="sluice-greedy-1")])
    assert findings == [Violated("greedy", uuids[5], pid)]
    told = host.pool.list_events(uuids[5])[0]["detail"]["reason"]
    assert told.startswith(f"pid {pid}")
    assert "of job greedy, which holds other cards" in told
    with pytest.raises(NoGpuError, match="gpu5 violated"):
        host.pool.lease("other", 1, 7)


def test_a_program_that_is_executed_in_our_container_is_known_as_the_jobs(host: Host, world: World, uuids: list[str]) -> None:
    host.start_job("ours", 1)
    api, container_id = host.lab.api, host.lab.engine.status("sluice-ours-1").id
    executed = api.exec_create(container_id, ["sleep", str(PATIENCE_S)])["Id"]
    api.exec_start(executed, detach=True)
    pid = api.exec_inspect(executed)["Pid"]
    assert containers_of(pid) == (container_id,)
    world.occupy(uuids[0], pid)
    assert [process["job"] for process in host.cards()[uuids[0]]["pids"]] == ["ours", "ours"]
    assert host.cards()[uuids[0]]["state"] == "leased"


def test_a_program_of_the_host_is_in_no_container_and_one_that_ended_in_none_that_can_be_told() -> None:
    with subprocess.Popen(["sleep", str(PATIENCE_S)]) as process:
        assert containers_of(process.pid) == ()
        process.kill()
    assert containers_of(process.pid) is None


# -------------------------------------------------------------------------------------------------- without lease or start


@pytest.fixture
def orphan(host: Host, uuids: list[str]) -> Iterator[str]:
    """A running container of a job on record whose lease was lost, as after a restore of the database from a backup."""
    host.add_job("restored")
    container_id = host.create_on("restored", uuids[:1])
    host.lab.engine.start(container_id)
    yield container_id
    host.lab.engine.stop(container_id, 1)


def test_a_container_without_its_lease_keeps_its_card_and_is_told(host: Host, orphan: str, uuids: list[str]) -> None:
    assert host.pool.reconcile([]) == [Orphan("sluice-restored-1", "restored")]
    assert (host.cards()[uuids[0]]["state"], host.cards()[uuids[0]]["holder"]) == ("orphan", "restored")
    with pytest.raises(NoGpuError, match="gpu0 orphan restored"):
        host.pool.lease("other", 1, 8)


def test_a_container_without_its_lease_gets_it_again_with_the_cards_that_it_has(host: Host, orphan: str, uuids: list[str]) -> None:
    assert host.pool.adopt("restored", 1, orphan) == (uuids[0],)
    card = host.cards()[uuids[0]]
    assert (card["state"], card["holder"], [process["job"] for process in card["pids"]]) == ("leased", "restored", ["restored"])
    assert not host.pool.reconcile([LeaseHolder("restored", 1, container="sluice-restored-1")])
    assert host.end_job("restored")
    assert set(host.states()) == {"free"}


def test_when_a_container_without_lease_is_stopped_its_card_is_free(host: Host, orphan: str) -> None:
    host.lab.engine.stop(orphan, 1)
    until(lambda: set(host.states()) == {"free"}, "free cards")
    assert not host.pool.reconcile([])


def test_a_start_that_fails_over_its_cards_leaves_neither_container_nor_lease_and_the_next_gets_another(
    host: Host, world: World, uuids: list[str]
) -> None:
    """A23."""
    host.add_job("job")
    leased = host.pool.lease("job", 1, 1)
    hide_from_toolkit(world, *leased)
    with pytest.raises(StartError, match="unknown device") as raised:
        host.start_on("job", leased)
    assert raised.value.fields == {**raised.value.fields, "gpu": "unknown_device", "gpu_uuids": list(leased)}
    assert host.end_job("job")
    assert not host.lab.api.containers(all=True)
    assert host.states() == ["drained", *["free"] * 7]
    assert host.cards()[leased[0]]["health"] == "suspect"
    assert "could not start on it: the engine's toolkit does not know the card" in host.cards()[leased[0]]["reason"]
    assert host.start_job("again", 1) == (uuids[1],)
