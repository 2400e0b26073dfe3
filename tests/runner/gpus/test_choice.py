"""Which cards of the free ones a job gets."""

from __future__ import annotations

import itertools
import random

import pytest

from contracts.gpu import Gpu, Snapshot, pair
from runner.gpus.choice import choose, score

SAME, ACROSS = 10, 40


def cards(count: int, **values: object) -> list[Gpu]:
    return [Gpu(f"GPU-{index:02}", index, "H200", pci=f"{index:02}", **values) for index in range(count)]  # type: ignore[arg-type]


def host(gpus: list[Gpu], island: int = 4, *, links: int = 0) -> Snapshot:
    """Islands of cards that are closer to each other, by topology or by NVLink."""
    pairs = {pair(one.uuid, other.uuid): one.index // island == other.index // island for one, other in itertools.combinations(gpus, 2)}
    topology = {key: SAME if near and not links else ACROSS for key, near in pairs.items()}
    return Snapshot(tuple(gpus), topology=topology, nvlinks={key: links for key, near in pairs.items() if near and links})


def chosen(free: list[Gpu], count: int, snapshot: Snapshot) -> list[int]:
    return [int(uuid.removeprefix("GPU-")) for uuid in choose(free, count, snapshot)]


@pytest.mark.parametrize("links", [0, 4])
def test_cards_of_one_island_are_taken_together(links: int) -> None:
    gpus = cards(8)
    assert chosen(gpus[1:], 4, host(gpus, links=links)) == [4, 5, 6, 7]


def test_a_single_card_comes_from_the_island_that_is_broken_already() -> None:
    gpus = cards(8)
    snapshot = host(gpus)
    assert chosen(gpus[:4] + gpus[5:], 1, snapshot) == [5]
    assert chosen(gpus, 1, snapshot) == [0]


def test_what_is_left_stays_as_close_together_as_it_can() -> None:
    gpus = cards(8)
    assert chosen(gpus[:2] + gpus[3:], 2, host(gpus, island=4)) == [0, 1]
    assert chosen(gpus[2:], 2, host(gpus, island=4)) == [2, 3]


def test_a_pair_that_cannot_be_read_is_no_obstacle() -> None:
    """A8: with the topology of a whole host lost, jobs of any width still get cards."""
    gpus = cards(8)
    assert [len(chosen(gpus, count, Snapshot(tuple(gpus)))) for count in (1, 2, 4, 8)] == [1, 2, 4, 8]
    assert chosen(gpus, 2, Snapshot(tuple(gpus), topology={pair("GPU-03", "GPU-06"): SAME})) == [3, 6]


@pytest.mark.parametrize(("count", "of"), [(3, 8), (4, 16), (8, 40)])
def test_the_choice_does_not_depend_on_the_order_they_are_listed_in(count: int, of: int) -> None:
    gpus = cards(of)
    shuffled = random.Random(1).sample(gpus, of)
    assert chosen(shuffled, count, host(gpus)) == chosen(gpus, count, host(gpus))


def test_with_many_cards_a_whole_island_is_found_without_looking_at_every_choice() -> None:
    gpus = cards(64)
    assert chosen(gpus[3:], 8, host(gpus, island=8)) == list(range(8, 16))
    assert chosen(gpus[3:], 1, host(gpus, island=8)) == [3]


def test_too_few_give_none() -> None:
    assert choose(cards(2), 3, Snapshot(())) == ()


def test_models_are_not_mixed_unless_asked_and_the_smallest_that_has_enough_is_taken() -> None:
    small = [Gpu(f"S{index}", index, "A10", 24) for index in range(2)]
    large = [Gpu(f"L{index}", index + 2, "H200", 141) for index in range(3)]
    free, nothing = [*large, *small], Snapshot(())
    assert choose(free, 2, nothing) == ("S0", "S1")
    assert choose(free, 3, nothing) == ("L0", "L1", "L2")
    assert choose(free, 4, nothing) == ()
    assert choose(free, 4, nothing, mixed=True) == ("S0", "S1", "L0", "L1")


def test_slices_are_taken_from_the_card_that_is_cut_up_most() -> None:
    free = [Gpu(f"{card}{part}", index, kind="mig", parent_uuid=card) for index, card in enumerate("AB") for part in range(3)]
    assert choose(free[1:], 1, Snapshot(())) == ("A1",)
    assert choose(free[:5], 1, Snapshot(())) == ("B0",)


def test_more_links_are_closer_than_any_switch_and_an_unknown_pair_is_furthest() -> None:
    one, other = cards(2)
    key = pair(one.uuid, other.uuid)
    by_level = [score(one, other, Snapshot((), topology={key: level})) for level in (0, 10, 20, 30, 40, 50)]
    linked = [score(one, other, Snapshot((), nvlinks={key: links})) for links in (1, 18)]
    assert by_level == sorted(by_level, reverse=True)
    assert linked[1] > linked[0] > by_level[0]
    assert score(one, other, Snapshot(())) == by_level[-1]
