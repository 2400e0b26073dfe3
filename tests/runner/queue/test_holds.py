"""A job that waits for more than is free gets it: others are held back, or pass only where they cost it no time."""

from __future__ import annotations

from runner.queue import Host, Share
from tests.runner.queue.world import NOON, World, cards, entry, wish

LONG_AGO = NOON - 601


def held(world: World) -> list[str]:
    return [hold.job_id for hold in world.decide().holds]


def test_nothing_is_held_before_the_first_blocked_job_has_waited() -> None:
    world = World(cards(4)).run("r1", "gpu0").add(entry("wide", gpu_count=4, submitted_at=NOON - 599), entry("one", gpu_count=1))
    assert (world.started(), held(world)) == (["one"], [])


def test_after_a_while_nothing_behind_it_starts_on_cards_it_could_use() -> None:
    world = World(cards(4)).run("r1", "gpu0").add(entry("wide", gpu_count=4, submitted_at=LONG_AGO), entry("one", gpu_count=1))
    decision = world.decide()
    assert decision.starts == ()
    assert decision.head is not None
    assert (decision.head.job_id, decision.head.waits_since, decision.head.gpu_count, decision.head.until) == ("wide", LONG_AGO, 4, None)


def test_the_wait_of_a_job_that_is_tried_again_begins_after_its_back_off() -> None:
    world = World(cards(4)).run("r1", "gpu0").add(entry("wide", gpu_count=4, submitted_at=NOON - 9999, not_before=NOON - 60))
    assert held(world) == []
    world.now = NOON + 540
    assert held(world) == ["wide"]


def test_the_held_job_starts_as_soon_as_there_is_enough() -> None:
    world = World(cards(4)).add(entry("wide", gpu_count=4, submitted_at=LONG_AGO), entry("one", gpu_count=1))
    assert (world.started(), held(world)) == (["wide"], [])


def test_cards_of_another_model_go_on() -> None:
    world = World({**cards(2), **cards(2, "A100", first=2)}).run("r1", "gpu0")
    world.add(entry("wide", gpu_count=2, wish=wish(model="H200"), submitted_at=LONG_AGO))
    world.add(entry("h", gpu_count=1, wish=wish(model="H200")), entry("a", gpu_count=1, wish=wish(model="A100")), entry("any", gpu_count=1))
    decision = world.decide()
    assert [(start.job_id, start.candidates) for start in decision.starts] == [("a", ("gpu2", "gpu3")), ("any", ("gpu2", "gpu3"))]


def test_each_model_has_a_hold_of_its_own() -> None:
    world = World({**cards(2), **cards(2, "A100", first=2)}).run("r1", "gpu0").run("r2", "gpu2")
    for model in ("H200", "A100"):
        world.add(entry(f"wide {model}", gpu_count=2, wish=wish(model=model), submitted_at=LONG_AGO))
        world.add(entry(f"one {model}", gpu_count=1, wish=wish(model=model)))
    assert (world.started(), held(world)) == ([], ["wide A100", "wide H200"])


def test_where_a_job_gets_cards_of_one_model_those_of_the_other_go_on() -> None:
    world = World({**cards(3), **cards(2, "A100", first=3)}, one_model=True).run("r1", "gpu0").run("r2", "gpu3")
    world.add(entry("wide", gpu_count=3, submitted_at=LONG_AGO), entry("t1", gpu_count=1), entry("t2", gpu_count=1))
    assert [(start.job_id, start.candidates) for start in world.decide().starts] == [("t1", ("gpu4",))]


def test_a_job_that_could_have_either_model_is_kept_the_one_that_has_enough_first() -> None:
    world = World({**cards(2), **cards(2, "A100", first=2)}, one_model=True)
    world.run("r1", "gpu0", ends_by=NOON + 900).run("r2", "gpu2", ends_by=NOON + 300)
    decision = world.add(entry("wide", gpu_count=2), entry("t1", gpu_count=1)).decide()
    assert [start.candidates for start in decision.starts] == [("gpu1",)]
    assert [hold.until for hold in decision.holds] == [NOON + 300]


def test_a_second_blocked_job_for_the_same_cards_needs_no_hold() -> None:
    world = World(cards(4)).run("r1", "gpu0")
    assert held(world.add(entry("t1", gpu_count=4, submitted_at=LONG_AGO - 1), entry("t2", gpu_count=4, submitted_at=LONG_AGO))) == ["t1"]


def test_a_more_urgent_job_passes_a_hold() -> None:
    world = World(cards(4)).run("r1", "gpu0")
    world.add(entry("wide", gpu_count=4, submitted_at=LONG_AGO), entry("urgent", gpu_count=1, priority=5))
    assert world.started() == ["urgent"]


def test_nobody_is_held_back_for_a_job_that_waits_for_cards_that_no_job_of_ours_has() -> None:
    world = World(cards(4), closed={"gpu3": "gpu3 foreign pid 4711 python"})
    world.add(entry("wide", gpu_count=4, submitted_at=LONG_AGO), entry("one", gpu_count=1))
    assert (world.started(), held(world)) == (["one"], [])


def test_nobody_is_held_back_for_a_job_that_is_larger_than_the_host() -> None:
    world = World(cards(2), host=Host(4.0, 0, 9)).run("r1", "gpu0", cpu_count=1.0)
    world.add(entry("huge", gpu_count=1, cpu_count=5.0, submitted_at=LONG_AGO), entry("one", gpu_count=1))
    assert (world.started(), held(world)) == (["one"], [])


def test_a_job_that_waits_for_processors_holds_them_too() -> None:
    world = World(cards(2), host=Host(8.0, 0, 9)).run("r1", cpu_count=4.0)
    world.add(entry("six", cpu_count=6.0, submitted_at=LONG_AGO), entry("one"), entry("with a card", gpu_count=1))
    assert (world.started(), held(world)) == ([], ["six"])


def test_a_job_that_waits_for_memory_holds_it() -> None:
    world = World(host=Host(99.0, 100, 9)).run("r1", memory_bytes=50)
    world.add(entry("big", memory_bytes=60, submitted_at=LONG_AGO), entry("small", memory_bytes=10), entry("none at all"))
    assert (world.started(), held(world)) == (["none at all"], ["big"])


def test_a_hold_for_cards_keeps_the_processors_that_its_job_will_need_and_no_more() -> None:
    world = World(cards(2), host=Host(8.0, 0, 9)).run("r1", "gpu0", cpu_count=1.0)
    world.add(entry("wide", gpu_count=2, cpu_count=4.0, submitted_at=LONG_AGO), entry("t1", cpu_count=2.0), entry("t2", cpu_count=2.0))
    assert world.started() == ["t1"]


def test_two_holds_keep_what_both_will_need() -> None:
    world = World({**cards(2), **cards(2, "A100", first=2)}, host=Host(10.0, 0, 9)).run("r1", "gpu0").run("r2", "gpu2")
    for model in ("H200", "A100"):
        world.add(entry(model, gpu_count=2, cpu_count=3.0, wish=wish(model=model), submitted_at=LONG_AGO))
    assert world.add(entry("t1", cpu_count=2.0), entry("t2", cpu_count=1.0)).started() == ["t1"]


# ------------------------------------------------------------------------------------------------------- backfill (EASY)


def test_when_the_holders_say_when_they_end_the_hold_begins_at_once_and_says_until_when() -> None:
    world = World(cards(4)).run("r1", "gpu0", ends_by=NOON + 300).run("r2", "gpu1", ends_by=NOON + 900)
    decision = world.add(entry("wide", gpu_count=4), entry("one", gpu_count=1)).decide()
    assert decision.starts == ()
    assert [(hold.job_id, hold.until) for hold in decision.holds] == [("wide", NOON + 900)]


def test_a_job_that_ends_before_the_held_one_can_start_passes() -> None:
    world = World(cards(4)).run("r1", "gpu0", ends_by=NOON + 900)
    world.add(entry("wide", gpu_count=4))
    world.add(entry("long", gpu_count=1, runtime_s=901.0), entry("short", gpu_count=1, runtime_s=900.0), entry("unknown", gpu_count=1))
    assert world.started() == ["short"]


def test_a_long_job_passes_when_it_leaves_enough_cards() -> None:
    world = World(cards(4)).run("r1", "gpu0", "gpu1", "gpu2", ends_by=NOON + 900)
    world.add(entry("wide", gpu_count=3), entry("t1", gpu_count=1), entry("t2", gpu_count=1))
    assert world.started() == ["t1"]


def test_a_job_that_finds_enough_elsewhere_is_not_offered_the_held_cards() -> None:
    world = World({**cards(2), **cards(2, "A100", first=2)}).run("r1", "gpu0", ends_by=NOON + 900)
    world.add(entry("wide", gpu_count=2, wish=wish(model="H200")), entry("two", gpu_count=2))
    assert [(start.job_id, start.candidates) for start in world.decide().starts] == [("two", ("gpu2", "gpu3"))]


def test_one_card_that_a_hold_spares_makes_up_for_a_missing_one_outside() -> None:
    world = World({**cards(4), **cards(1, "A100", first=4)}).run("r1", "gpu0", "gpu1", ends_by=NOON + 900)
    world.add(entry("wide", gpu_count=3, wish=wish(model="H200")), entry("two", gpu_count=2))
    assert [(start.job_id, start.candidates) for start in world.decide().starts] == [("two", ("gpu2", "gpu4"))]


def test_an_overdue_job_may_take_any_time_so_the_plain_hold_is_for_its_cards() -> None:
    world = World(cards(4)).run("r1", "gpu0", ends_by=NOON - 1)
    world.add(entry("wide", gpu_count=4, submitted_at=LONG_AGO), entry("short", gpu_count=1, runtime_s=1.0))
    decision = world.decide()
    assert (decision.starts, [hold.until for hold in decision.holds]) == ((), [None])


def test_a_shared_card_is_free_when_its_last_job_has_ended() -> None:
    world = World(cards(2)).run("r1", "gpu0", ends_by=NOON + 300).run("r2", "gpu0", ends_by=NOON + 900)
    assert [hold.until for hold in world.add(entry("wide", gpu_count=2)).decide().holds] == [NOON + 900]


def test_jobs_of_this_decision_count_with_their_own_end() -> None:
    world = World(cards(2)).add(entry("urgent", gpu_count=1, priority=1, runtime_s=600.0), entry("wide", gpu_count=2))
    decision = world.decide()
    assert ([start.job_id for start in decision.starts], [hold.until for hold in decision.holds]) == (["urgent"], [NOON + 600])


def test_a_job_over_quota_is_not_what_others_are_held_back_for() -> None:
    world = World(cards(4), shares={("user", "eve"): Share(max_gpus=2)}).run("r1", "gpu0", ends_by=NOON + 900)
    world.add(entry("wide", user="eve", gpu_count=4, submitted_at=LONG_AGO), entry("one", gpu_count=1))
    assert (world.started(), held(world)) == (["one"], [])
