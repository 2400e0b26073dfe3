"""Pools: who may use which cards, how many, and several jobs on one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from contracts.errors import ConflictError, NoGpuError, NotFoundError, RequestError
from contracts.image import Kind
from contracts.job import GpuWish
from tests.runner.gpus.world import container_of

if TYPE_CHECKING:
    from runner.queue.terms import Offer
    from tests.runner.gpus.world import Host

GIB = 1024**3
LABS = GpuWish(pool="labs")


def offer(host: Host, user: str = "ann", project: str = "default", kind: Kind = Kind.TRAINING, wish: GpuWish = LABS) -> Offer:
    return host.pool.offer(wish, user, project, kind)


@pytest.fixture
def labs(host: Host) -> Host:
    """A host with its last two cards in the pool labs."""
    host.pool.put_pool("labs", purpose="experiments")
    for uuid in ("GPU-2", "GPU-3"):
        host.pool.assign(uuid, "labs")
    return host


def test_a_card_in_a_pool_is_for_jobs_that_name_it(labs: Host) -> None:
    assert labs.pool.lease("t0000001", 1, 2, LABS) == ("GPU-2", "GPU-3")
    assert labs.pool.lease("t0000002", 1, 2) == ("GPU-0", "GPU-1")
    with pytest.raises(NoGpuError, match="3 GPUs are asked for, this host has 2 in no pool"):
        labs.pool.lease("t0000003", 1, 3)
    with pytest.raises(NoGpuError, match="3 GPUs are asked for, this host has 2 in the pool labs"):
        labs.pool.lease("t0000003", 1, 3, LABS)


def test_pools_are_listed_with_their_cards(labs: Host) -> None:
    (pool,) = labs.pool.list_pools()
    assert (pool["name"], pool["purpose"], pool["slots"], pool["gpus"]) == ("labs", "experiments", 1, ["GPU-2", "GPU-3"])
    changed = labs.pool.put_pool("labs", max_gpus_per_user=3, users=["bob", "ann"])
    assert (changed["purpose"], changed["max_gpus_per_user"], changed["users"]) == ("experiments", 3, ["ann", "bob"])
    assert labs.pool.put_pool("labs", max_gpus_per_user=-1)["max_gpus_per_user"] is None


def test_a_pool_is_removed_when_it_is_empty(labs: Host) -> None:
    with pytest.raises(ConflictError, match="is not empty: GPU-2, GPU-3"):
        labs.pool.remove_pool("labs")
    for uuid in ("GPU-2", "GPU-3"):
        labs.pool.assign(uuid, "")
    assert labs.pool.remove_pool("labs") == {"removed": "labs"}
    with pytest.raises(NotFoundError, match="no GPU pool 'labs'"):
        labs.pool.remove_pool("labs")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("", {}),
        ("a b", {}),
        ("a\n", {}),
        ("labs", {"slots": 0}),
        ("labs", {"max_gpus_per_user": -2}),
        ("labs", {"slots": 65}),
        ("labs", {"kinds": ["cooking"]}),
    ],
)
def test_a_pool_that_makes_no_sense_is_refused(host: Host, name: str, values: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        host.pool.put_pool(name, **values)
    assert host.pool.list_pools() == []


def test_a_card_is_named_by_uuid_its_beginning_or_index(host: Host) -> None:
    host.cards = [{"uuid": "GPU-abcd-1"}, {"uuid": "GPU-abce-2"}]
    host.write()
    host.pool.put_pool("labs")
    assert host.pool.assign("GPU-abcd-1", "labs")["uuid"] == "GPU-abcd-1"
    assert host.pool.assign("gpu-abce", "labs")["uuid"] == "GPU-abce-2"
    assert host.pool.assign("1", "")["uuid"] == "GPU-abce-2"
    for wrong, said in (("GPU-abc", "begins 2 uuids"), ("9", "no GPU '9'"), ("GPU-x", "no GPU 'GPU-x'")):
        with pytest.raises(NotFoundError, match=said):
            host.pool.assign(wrong, "labs")
    with pytest.raises(NotFoundError, match="no GPU pool 'other'"):
        host.pool.assign("0", "other")


def test_drained_cards_and_pools_get_no_new_job_and_keep_those_they_have(labs: Host) -> None:
    labs.start("t0000001", 1, wish=LABS)
    assert labs.pool.drain("GPU-0")["drained"]
    assert labs.pool.drain("labs")["drained"]
    assert labs.states() == ["drained", "free", "leased", "drained"]
    with pytest.raises(NoGpuError, match=r"gpu3 drained \(the pool labs is drained\)"):
        labs.pool.lease("t0000002", 1, 1, LABS)
    labs.pool.undrain("GPU-0")
    labs.pool.undrain("labs")
    assert labs.states() == ["free", "free", "leased", "free"]
    assert [event["kind"] for event in labs.events("drained", "undrained")] == ["drained", "undrained"]


def test_the_slices_of_a_card_go_with_it(host: Host) -> None:
    first, _ = host.cut(0, 2)
    host.pool.put_pool("labs")
    host.pool.assign("GPU-0", "labs")
    assert host.pool.lease("t0000001", 1, 1, GpuWish(pool="labs", mig_profile="1g.10gb")) == (first,)
    host.look()
    assert host.pool.list_pools()[0]["gpus"] == ["GPU-0", "MIG-0-0", "MIG-0-1"]


# ------------------------------------------------------------------------------------------------------------------- rules


@pytest.mark.parametrize(
    ("rule", "values"),
    [("users", {"user": "eve"}), ("projects", {"project": "other"}), ("kinds", {"kind": Kind.MINING})],
)
def test_a_pool_is_only_for_whom_it_says(labs: Host, rule: str, values: dict[str, Any]) -> None:
    allowed = {"users": ["ann"], "projects": ["default"], "kinds": ["training"]}[rule]
    labs.pool.put_pool("labs", **{rule: allowed})
    assert set(offer(labs).free) == {"GPU-2", "GPU-3"}
    refused = offer(labs, **values)
    assert (refused.free, refused.eligible) == ((), ())
    assert f"is for {rule} {allowed[0]}, not" in refused.busy["labs"]
    for attempt in (labs.pool.refuse_impossible, lambda *given, **who: labs.pool.lease("t0000001", 1, 1, given[0], **who)):
        with pytest.raises(NoGpuError, match=f"is for {rule} {allowed[0]}, not"):
            attempt(LABS, 1, **values)


@pytest.mark.parametrize("quota", ["max_gpus_per_user", "max_gpus_per_project"])
def test_a_quota_limits_what_somebody_holds_of_a_pool(labs: Host, quota: str) -> None:
    labs.pool.put_pool("labs", **{quota: 1})
    for job_id, user, project in (("t0000001", "ann", "one"), ("t0000002", "ann", "one"), ("t0000003", "bob", "two")):
        labs.add_job(job_id, user=user, project=project)
    assert len(offer(labs, "ann", "one").eligible) == 1
    labs.pool.lease("t0000001", 1, 1, LABS, user="ann", project="one")
    barred = offer(labs, "ann", "one")
    assert (barred.free, barred.eligible) == ((), ())
    assert barred.busy["labs"] == f"{quota[13:]} {'ann' if 'user' in quota else 'one'} may hold 1 GPU of pool labs and holds 1"
    with pytest.raises(NoGpuError, match="may hold 1 GPU of pool labs and holds 1"):
        labs.pool.lease("t0000002", 1, 1, LABS, user="ann", project="one")
    assert len(labs.pool.lease("t0000003", 1, 1, LABS, user="bob", project="two")) == 1


def test_a_job_above_every_quota_is_refused_at_once(labs: Host) -> None:
    labs.pool.put_pool("labs", max_gpus_per_user=1)
    with pytest.raises(NoGpuError, match="2 GPUs are asked for, of the pool labs a user may hold 1"):
        labs.pool.refuse_impossible(LABS, 2)


def test_a_quota_counts_what_was_leased_since_the_books_were_read(labs: Host) -> None:
    labs.pool.put_pool("labs", max_gpus_per_user=1)
    for job_id in ("t0000001", "t0000002"):
        labs.add_job(job_id)
    books = labs.pool.read()
    labs.pool.lease("t0000001", 1, 1, LABS, user="ann", books=books)
    with pytest.raises(NoGpuError, match="may hold 1 GPU"):
        labs.pool.lease("t0000002", 1, 1, LABS, user="ann", books=books)


def test_users_are_told_apart_only_where_a_pool_does(labs: Host) -> None:
    def scopes() -> int:
        books = labs.pool.read()
        return len({labs.pool.offer_scope(user, project, books) for user in ("ann", "bob") for project in ("one", "two")})

    assert scopes() == 1
    labs.pool.put_pool("labs", max_gpus_per_user=1)
    assert scopes() == 2
    labs.pool.put_pool("labs", projects=["one"])
    assert scopes() == 4


# ----------------------------------------------------------------------------------------------------------------- sharing


@pytest.fixture
def shared(labs: Host) -> Host:
    """Three jobs may share a card of the pool."""
    labs.pool.put_pool("labs", slots=3)
    return labs


def share(size: int) -> GpuWish:
    return GpuWish(pool="labs", shared_bytes=size * GIB)


def test_jobs_share_a_card_until_its_memory_is_declared(shared: Host) -> None:
    given = [shared.start(f"t000000{number}", 1, wish=share(35))[0] for number in range(3)]
    assert given == ["GPU-2", "GPU-2", "GPU-3"]
    card = shared.card("GPU-2")
    assert (card["state"], card["job"], card["jobs"]) == ("leased", None, ["t0000000", "t0000001"])
    assert offer(shared, wish=share(35)).free == ("GPU-3",)
    assert offer(shared, wish=share(50)).free == ()


def test_no_more_jobs_share_a_card_than_it_has_slots(shared: Host) -> None:
    given = [shared.start(f"t000000{number}", 1, wish=share(1))[0] for number in range(6)]
    assert sorted(given) == ["GPU-2"] * 3 + ["GPU-3"] * 3
    with pytest.raises(NoGpuError, match="0 of 2 free"):
        shared.pool.lease("t0000009", 1, 1, share(1))


def test_whole_and_shared_jobs_keep_each_other_out(shared: Host) -> None:
    shared.start("t0000001", 1, wish=share(1))
    assert shared.pool.lease("t0000002", 1, 1, LABS) == ("GPU-3",)
    assert shared.pool.lease("t0000003", 1, 1, share(1)) == ("GPU-2",)
    with pytest.raises(NoGpuError):
        shared.pool.lease("t0000004", 1, 1, LABS)
    for job_id in ("t0000001", "t0000003"):
        shared.exit(job_id)
        assert shared.pool.release(job_id, 1)
    assert shared.pool.lease("t0000004", 1, 1, LABS) == ("GPU-2",)


def test_a_pool_that_gets_fewer_slots_keeps_the_jobs_it_has(shared: Host) -> None:
    for number in range(3):
        shared.start(f"t000000{number}", 1, wish=share(1))
    shared.pool.put_pool("labs", slots=1)
    assert shared.pool.lease("t0000008", 1, 1, LABS) == ("GPU-3",)
    with pytest.raises(NoGpuError, match="can be shared"):
        shared.pool.lease("t0000009", 1, 1, share(1))
    shared.pool.put_pool("labs", slots=3)
    with pytest.raises(NoGpuError):
        shared.pool.lease("t0000009", 1, 1, share(1))


def test_what_is_used_beyond_all_declarations_is_not_shared_out(shared: Host) -> None:
    shared.start("t0000001", 1, wish=share(20))
    process = shared.run(101, container_of("t0000001"))
    shared.put("GPU-2", {**process, "used_bytes": 50 * GIB})
    assert shared.card("GPU-2")["reason"] == "job t0000001 uses 50.0 GiB of the shared card and declared 20.0 GiB"
    assert offer(shared, wish=share(30)).free == ("GPU-2", "GPU-3")
    assert offer(shared, wish=share(31)).free == ("GPU-3",)


def test_a_stranger_on_a_shared_card_keeps_new_jobs_away(shared: Host) -> None:
    shared.start("t0000001", 1, wish=share(1))
    shared.put("GPU-2", shared.run(4711))
    assert shared.card("GPU-2")["state"] == "contended"
    assert shared.pool.lease("t0000002", 1, 1, share(1)) == ("GPU-3",)


def test_every_container_on_a_shared_card_is_known(shared: Host) -> None:
    for job_id in ("t0000001", "t0000002"):
        shared.start(job_id, 1, wish=share(10))
    card = shared.card("GPU-2")
    assert (card["state"], card["holder"], card["reason"]) == ("leased", "t0000001, t0000002", "")
    assert card["containers"] == ["sluice-t0000001-1", "sluice-t0000002-1"]
    shared.give("web", "2")
    assert shared.card("GPU-2")["state"] == "contended"
    assert "with the container web, which" in shared.card("GPU-2")["reason"]


@pytest.mark.parametrize("job_id", ["t0000001", "t0000002"])
def test_a_share_of_a_card_is_not_given_back_while_its_container_runs(shared: Host, job_id: str) -> None:
    for started in ("t0000001", "t0000002"):
        shared.start(started, 1, wish=share(10))
    assert shared.pool.reclaim(lambda *_: False) == []
    assert not shared.pool.release(job_id, 1)
    shared.take_back(f"sluice-{job_id}-1")
    assert shared.pool.settle() == [job_id]


def test_a_job_ends_on_a_shared_card_while_others_go_on(shared: Host) -> None:
    shared.start("t0000001", 1, wish=share(10))
    shared.start("t0000002", 1, wish=share(10))
    shared.put("GPU-2", {**shared.run(102, container_of("t0000002")), "used_bytes": 9 * GIB})
    shared.take_back("sluice-t0000001-1")
    assert shared.pool.release("t0000001", 1)
    assert shared.card("GPU-2")["job"] == "t0000002"


@pytest.mark.parametrize("values", [{"compute_mode": "exclusive_process"}, {"total_bytes": GIB // 2}])
def test_a_card_that_cannot_be_shared_is_not(shared: Host, values: dict[str, Any]) -> None:
    shared.set_card(2, **values)
    assert shared.pool.lease("t0000001", 1, 1, share(1)) == ("GPU-3",)
