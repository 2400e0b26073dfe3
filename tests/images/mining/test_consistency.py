"""CALD and ALDD: what changes under small changes, and where neighbours disagree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mining import Boxes, Labelled, Pool, select
from mining.aldd import divergence
from mining.cald import class_distance, consistency


def _boxes(*rows: tuple[float, float, float, float, float, int]) -> Boxes:
    table = np.array(rows, float).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


STILL = _boxes((0, 0, 10, 10, 0.95, 0), (30, 30, 50, 50, 0.95, 1))
MOVED = _boxes((3, 3, 13, 13, 0.6, 0), (36, 36, 56, 56, 0.6, 1))


def _pool(**pictures: tuple[Boxes, Boxes]) -> Pool:
    found = list(pictures.values())
    return Pool(list(pictures), ("cat", "dog"), [before for before, _ in found], views={"flip": [after for _, after in found]})


def test_consistency_is_2_for_what_stays_the_same_and_less_for_what_changes() -> None:
    sure = replace(STILL, scores=np.ones(2))
    assert consistency(sure, sure) == pytest.approx([2, 2])
    # IoU 49 / 151 and scores .95 and .6 with distributions (s, 1 - s): by hand.
    p, q = np.array([0.95, 0.05]), np.array([0.6, 0.4])
    middle = (p + q) / 2
    js = (p @ np.log(p / middle) + q @ np.log(q / middle)) / 2
    assert consistency(STILL, MOVED)[0] == pytest.approx(49 / 151 + 0.5 * 1.55 * (1 - js))


def test_a_box_of_another_class_agrees_least() -> None:
    other = replace(STILL, classes=np.array([1, 0]))
    assert (consistency(STILL, other) < consistency(STILL, STILL)).all()


@pytest.mark.parametrize("box_agg", ["q10", "min", "mean"])
def test_a_consistent_picture_ranks_below_one_that_changes(box_agg: str) -> None:
    pool = _pool(consistent=(STILL, STILL), inconsistent=(STILL, MOVED))
    assert [pick.id for pick in select(pool, "cald", budget=2, parameters={"box_agg": box_agg}).picks] == ["inconsistent", "consistent"]


def test_many_consistent_boxes_do_not_add_up_to_an_inconsistent_picture() -> None:
    rows = [(20.0 * row, 0.0, 20.0 * row + 10, 10.0, 0.97, 0) for row in range(30)]
    crowd = _boxes(*rows)
    pool = _pool(crowd=(crowd, crowd), inconsistent=(STILL, MOVED))
    assert select(pool, "cald", budget=1).picks[0].id == "inconsistent"


def test_a_picture_without_boxes_is_neither_first_nor_last_unless_asked() -> None:
    pool = _pool(a=(STILL, MOVED), b=(STILL, STILL), c=(STILL, MOVED), empty=(_boxes(), _boxes()))
    for policy, place in (("first", 0), ("last", 3)):
        picks = select(pool, "cald", budget=0, parameters={"empty": policy}).picks
        assert picks[place].id == "empty"
    assert [pick.id for pick in select(pool, "cald", budget=0).picks].index("empty") in (1, 2)


def test_the_second_stage_prefers_classes_that_are_not_what_is_labelled() -> None:
    cats, dogs = _boxes((0, 0, 10, 10, 0.9, 0)), _boxes((0, 0, 10, 10, 0.9, 1))
    shift = _boxes((3, 3, 13, 13, 0.6, 0))
    pool = _pool(a=(cats, shift), b=(cats, shift), c=(dogs, replace(shift, classes=np.array([1]))))
    pool = replace(pool, labelled=Labelled(class_counts=np.array([90.0, 10.0]), image_count=50))
    assert class_distance(pool, np.array([90.0, 10.0]), 50).argmax() == 2
    selection = select(pool, "cald", budget=1, parameters={"keep_factor": 3.0})
    assert selection.picks[0].id == "c"
    assert not selection.skipped
    unbalanced = select(replace(pool, labelled=Labelled()), "cald", budget=1)
    assert any("class balance" in sentence for sentence in unbalanced.skipped)


def test_pictures_of_one_class_each_are_compared_by_their_distributions() -> None:
    before = np.array([[0.9, 0.1], [0.9, 0.1]])
    pool = Pool(["changes", "stays"], ("cat", "dog"), probabilities=before, views={"blur": np.array([[0.5, 0.5], [0.9, 0.1]])})
    assert [pick.id for pick in select(pool, "cald", budget=1).picks] == ["changes", "stays"]


def test_reasons_name_the_views() -> None:
    reasons = select(_pool(a=(STILL, MOVED)), "cald", budget=1).picks[0].reasons
    assert reasons[0].startswith("what is found changes under flip: ")


def test_divergence_is_0_where_neighbours_agree_and_highest_at_an_edge() -> None:
    flat = np.full((1, 6, 6), 0.3)
    assert divergence(flat, 3) == pytest.approx(0.0, abs=1e-12)
    edge = np.zeros((1, 6, 6))
    edge[:, :, 3:] = 1.0
    found = divergence(edge, 3)
    assert found[0, 2, 0] == 0.0
    # A column of ones beside two of zeros: mean 1/3, and every cell by itself is certain.
    assert found[0, 2, 2] == pytest.approx(-(np.log(1 / 3) / 3 + 2 / 3 * np.log(2 / 3)))


def _maps(*maps: np.ndarray) -> Pool:  # type: ignore[type-arg]
    return Pool([f"{row}" for row in range(len(maps))], ("cat",), class_maps=lambda row: maps[row])


def test_maps_that_disagree_come_first_and_broken_ones_are_neutral() -> None:
    generator = np.random.default_rng(0)
    rough, flat = generator.integers(0, 2, (1, 8, 8)).astype(float), np.full((1, 8, 8), 0.4)
    picks = select(_maps(flat, rough, np.full((1, 8, 8), np.nan), np.zeros((1, 0, 0))), "aldd", budget=4).picks
    assert picks[0].id == "1"
    assert picks[-1].id == "0"
    assert picks[1].reasons == ("nothing was found in it",)


def test_frames_near_one_that_was_taken_come_later() -> None:
    generator = np.random.default_rng(1)
    maps = generator.integers(0, 2, (6, 1, 8, 8)).astype(float)
    pool = replace(_maps(*maps), order=[("a", 0.0), ("a", 1.0), ("a", 2.0), ("a", 3.0), ("b", 0.0), ("b", 1.0)])
    frames = [int(pick.id) for pick in select(pool, "aldd", budget=3, parameters={"frame_gap": 2.0}).selected]
    taken = [pool.order[row] for row in frames] if pool.order else []
    assert all(left[0] != right[0] or abs(left[1] - right[1]) >= 2 for left in taken for right in taken if left is not right)
    assert len({video for video, _ in taken}) == 2
