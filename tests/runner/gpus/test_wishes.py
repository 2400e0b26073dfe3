"""Which cards a wish can be met with, and what is said when none can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from contracts.errors import NoGpuError
from contracts.image import Kind
from contracts.job import GpuWish

if TYPE_CHECKING:
    from runner.queue.terms import Offer
    from tests.runner.gpus.world import Host

GIB = 1024**3


def offer(host: Host, user: str = "ann", project: str = "default", kind: Kind = Kind.TRAINING, **wish: Any) -> Offer:
    return host.pool.offer(GpuWish(**wish), user, project, kind)


@pytest.fixture
def mixed(hosts: type[Host]) -> Host:
    """Two small cards, three large ones, and one that is cut into seven."""
    host = hosts(6)
    for index in range(6):
        name, size = ("NVIDIA A10", 24) if index < 2 else ("NVIDIA H200", 141)
        host.set_card(index, name=name, total_bytes=size * GIB)
    slices = [{"uuid": f"MIG-{number}", "profile": "1g.18gb", "total_bytes": 18 * GIB} for number in range(7)]
    host.set_card(5, name="NVIDIA H200", total_bytes=141 * GIB, slices=slices)
    return host


# --------------------------------------------------------------------------------------------------------- the impossible


@pytest.mark.parametrize(
    ("count", "wish", "said"),
    [
        (99, {}, "99 GPUs are asked for, this host has 5 that are whole cards"),
        (1, {"model": "b200"}, "1 GPU is asked for, this host has 0 that are whole cards of model b200"),
        (4, {"model": "h200"}, "4 GPUs are asked for, this host has 3 that are whole cards of model h200"),
        (1, {"memory_bytes": 200 * GIB}, "this host has 0 that are whole cards with at least 200 GiB"),
        (3, {"memory_bytes": 20 * GIB, "model": "A10"}, "this host has 2 that are whole cards of model A10"),
        (8, {"mig_profile": "1g.18gb"}, "this host has 7 that are MIG slices 1g.18gb"),
        (1, {"mig_profile": "7g.141gb"}, "this host has 0 that are MIG slices 7g.141gb"),
        (1, {"pool": "labs"}, "there is no GPU pool 'labs'"),
        (1, {"shared_bytes": GIB}, "this host has 0 that are whole cards that can be shared by a job of 1 GiB"),
        (4, {}, "no model has as many here: 2 NVIDIA A10, 3 NVIDIA H200"),
    ],
)
def test_what_the_host_can_never_give_is_refused_naming_the_limit(mixed: Host, count: int, wish: dict[str, Any], said: str) -> None:
    """A30."""
    with pytest.raises(NoGpuError) as caught:
        mixed.pool.refuse_impossible(GpuWish(**wish), count)
    assert said in caught.value.message
    with pytest.raises(NoGpuError):
        mixed.pool.lease("t0000001", 1, count, GpuWish(**wish))


@pytest.mark.parametrize(
    ("count", "wish"),
    [(0, {"model": "b200"}), (3, {}), (2, {"model": "a10"}), (5, {"model": "nvidia"}), (7, {"mig_profile": "1g.18gb"})],
)
def test_what_it_can_give_at_some_time_is_not_refused(mixed: Host, count: int, wish: dict[str, Any]) -> None:
    mixed.engine_away = True
    mixed.give("web", "*")
    mixed.pool.refuse_impossible(GpuWish(**wish), count)


def test_where_nothing_is_wished_only_the_number_is_told(host: Host) -> None:
    with pytest.raises(NoGpuError) as caught:
        host.pool.refuse_impossible(GpuWish(), 99)
    assert caught.value.message == "99 GPUs are asked for, this host has 4"


def test_what_is_lost_drained_or_in_use_counts_as_there_and_what_is_missing_is_named(host: Host) -> None:
    host.look()
    host.set_card(0, error="lost", error_code="lost")
    host.pool.drain("GPU-1")
    host.put("GPU-2", host.run(4711))
    assert host.pool.total() == 4
    del host.cards[3]
    host.write()
    with pytest.raises(NoGpuError, match=r"4 GPUs are asked for, this host has 3; GPU-3 is missing"):
        host.pool.refuse_impossible(GpuWish(), 4)


def test_a_lost_card_is_still_of_its_model(mixed: Host) -> None:
    mixed.look()
    mixed.set_card(2, name="", total_bytes=0, error="lost", error_code="lost")
    assert mixed.pool.total(GpuWish(model="h200", memory_bytes=100 * GIB)) == 3


def test_the_whole_name_of_a_model_means_no_other(host: Host) -> None:
    host.set_card(0, name="NVIDIA A100")
    host.set_card(1, name="NVIDIA A100X")
    assert offer(host, model="nvidia a100").free == ("GPU-0",)
    assert offer(host, model="A100").free == ("GPU-0", "GPU-1")


# ------------------------------------------------------------------------------------------------------------------ slices


def test_slices_are_given_by_profile_and_their_card_never(hosts: type[Host]) -> None:
    """A16."""
    host = hosts(1)
    slices = host.cut(0, 7)
    wish = GpuWish(mig_profile="1g.10gb")
    given = [host.start(f"t000000{number}", 1, wish=wish)[0] for number in range(3)]
    assert len(set(given)) == 3
    assert set(given) <= set(slices)
    assert host.states() == ["mig"] + ["leased" if uuid in given else "free" for uuid in slices]
    with pytest.raises(NoGpuError, match="this host has 0"):
        host.pool.lease("t0000009", 1, 1)


def test_several_slices_are_given_only_to_who_names_a_profile(hosts: type[Host]) -> None:
    host = hosts(1)
    host.cut(0, 7)
    assert len(host.pool.lease("t0000001", 1, 2, GpuWish(mig_profile="1g.10gb"))) == 2
    with pytest.raises(NoGpuError, match="a job gets one of them"):
        host.pool.lease("t0000002", 1, 2, GpuWish(memory_bytes=8 * GIB))


def test_where_all_cards_are_cut_a_size_gets_the_smallest_slice_that_has_it(hosts: type[Host]) -> None:
    host = hosts(1)
    sizes = {"MIG-small": 10, "MIG-large": 40, "MIG-medium": 20}
    host.set_card(0, slices=[{"uuid": uuid, "total_bytes": size * GIB} for uuid, size in sizes.items()])
    assert host.pool.lease("t0000001", 1, 1, GpuWish(memory_bytes=15 * GIB)) == ("MIG-medium",)


def test_where_there_are_whole_cards_a_size_means_one_of_them(mixed: Host) -> None:
    assert mixed.pool.lease("t0000001", 1, 1, GpuWish(memory_bytes=10 * GIB)) == ("GPU-0",)


# ------------------------------------------------------------------------------------------------------------------ offers


def test_an_offer_says_what_is_free_what_will_be_and_why_not_yet(host: Host) -> None:
    host.start("t0000001")
    host.put("GPU-1", host.run(4711))
    host.pool.drain("GPU-2")
    found = offer(host)
    assert (set(found.free), set(found.eligible)) == ({"GPU-3"}, {"GPU-0", "GPU-1", "GPU-3"})
    assert found.busy == {
        "GPU-0": "gpu0 leased t0000001",
        "GPU-1": "gpu1 foreign pid 4711 python 4711",
        "GPU-2": "gpu2 drained (drained by an operator)",
    }


def test_a_quarantined_card_is_waited_for_and_a_lost_one_is_not(host: Host) -> None:
    host.happen(119)
    host.look()
    host.set_card(1, error="lost", error_code="lost")
    found = offer(host)
    assert set(found.eligible) == {"GPU-0", "GPU-2", "GPU-3"}
    assert found.busy["GPU-0"] == "gpu0 quarantined (Xid 119: GSP firmware does not answer)"


def test_one_reading_serves_every_wish(mixed: Host) -> None:
    books = mixed.pool.read()
    mixed.engine_away = True
    offers = [
        mixed.pool.offer(GpuWish(**wish), "ann", "p", Kind.TRAINING, books) for wish in ({}, {"model": "a10"}, {"mig_profile": "1g.18gb"})
    ]
    assert [len(found.free) for found in offers] == [5, 2, 7]


def test_an_offer_and_a_lease_agree(mixed: Host) -> None:
    for number, wish in enumerate((GpuWish(), GpuWish(model="h200"), GpuWish(mig_profile="1g.18gb"))):
        free = mixed.pool.offer(wish, "ann", "p", Kind.TRAINING).free
        assert set(mixed.pool.lease(f"t000000{number}", 1, 1, wish)) <= set(free)


# ------------------------------------------------------------------------------------------------------- what the queue is told


def test_the_cards_of_each_model_are_offered_as_sets_that_are_not_mixed(mixed: Host) -> None:
    groups = offer(mixed).groups
    assert [len(group) for group in groups] == [2, 3]
    assert not offer(mixed, model="h200").groups


def test_a_lease_takes_only_what_the_queue_left_for_it(mixed: Host) -> None:
    free = list(offer(mixed, model="h200").free)
    assert mixed.pool.lease("j1", 1, 1, GpuWish(model="h200"), among=free[2:]) == (free[2],)
    with pytest.raises(NoGpuError):
        mixed.pool.lease("j2", 1, 1, among=free[2:])
