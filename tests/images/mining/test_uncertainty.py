"""How unsure the model is: formulas by hand, directions, and where a picture stands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mining import Boxes, Pool, doubt, select
from mining.chance import chances


def _scored(*scores: float, probabilities: list[list[float]] | None = None) -> Boxes:
    count = len(scores)
    corners = np.array([[9.0 * row, 0, 9.0 * row + 8, 8] for row in range(count)]).reshape(-1, 4)
    return Boxes(corners, np.array(scores), np.zeros(count, np.int64), None if probabilities is None else np.array(probabilities))


def _detected(**pictures: Boxes) -> Pool:
    return Pool(list(pictures), ("cat", "dog"), list(pictures.values()))


def _by_id(pool: Pool, strategy: str, **parameters: object) -> dict[str, float]:
    return {pick.id: pick.score for pick in select(pool, strategy, budget=len(pool), parameters=parameters).picks}


def test_entropy_knows_that_nothing_times_the_log_of_nothing_is_nothing() -> None:
    assert doubt.binary_entropy(np.array([0.0, 0.5, 1.0])).tolist() == [0.0, 1.0, 0.0]
    rows = np.array([[1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]])
    assert doubt.categorical_entropy(rows) == pytest.approx([0, 1, np.log(2) / np.log(3)])


def test_mass_that_a_list_of_the_best_classes_leaves_out_counts_as_one_more_class() -> None:
    assert doubt.categorical_entropy(np.array([[0.5, 0.0]])) == pytest.approx([np.log(2) / np.log(3)])
    assert doubt.margin(np.array([[0.5, 0.0]])) == pytest.approx([1.0])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5).filter(lambda row: sum(row) > 0))
def test_doubts_lie_between_0_and_1(row: list[float]) -> None:
    distribution = np.array([row]) / sum(row)
    for measure in (doubt.categorical_entropy, doubt.margin, doubt.least_confidence):
        assert -1e-9 <= float(measure(distribution)[0]) <= 1 + 1e-9


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda row: sum(row) > 0.1), st.permutations(range(3)))
def test_jensen_shannon_is_symmetric_and_0_only_for_the_same(row: list[float], order: list[int]) -> None:
    left = np.array([row]) / sum(row)
    right = left[:, order]
    assert float(doubt.jensen_shannon(left, right)[0]) == pytest.approx(float(doubt.jensen_shannon(right, left)[0]))
    assert float(doubt.jensen_shannon(left, left)[0]) == pytest.approx(0.0, abs=1e-12)
    assert float(doubt.jensen_shannon(np.array([[1.0, 0]]), np.array([[0.0, 1]]))[0]) == pytest.approx(1.0)


@pytest.mark.parametrize("strategy", ["least_confidence", "margin", "entropy", "csf", "default"])
def test_unsure_boxes_come_before_sure_ones(strategy: str) -> None:
    scores = _by_id(_detected(sure=_scored(0.95, 0.97), unsure=_scored(0.5, 0.55), between=_scored(0.5, 0.97)), strategy)
    assert scores["unsure"] > scores["between"] > scores["sure"]


def test_the_control_prefers_what_the_model_is_sure_of() -> None:
    scores = _by_id(_detected(sure=_scored(0.99), unsure=_scored(0.5), empty=_scored()), "anti")
    assert scores["empty"] > scores["sure"] > scores["unsure"]


@pytest.mark.parametrize("strategy", ["least_confidence", "margin", "entropy", "default"])
def test_unsure_classes_come_before_sure_ones(strategy: str) -> None:
    pool = Pool(["even", "leaning", "sure"], ("cat", "dog"), probabilities=np.array([[0.5, 0.5], [0.7, 0.3], [0.99, 0.01]]))
    scores = _by_id(pool, strategy)
    assert scores["even"] > scores["leaning"] > scores["sure"]


def test_doubts_of_boxes_are_brought_together_as_asked() -> None:
    pool = _detected(a=_scored(0.5, 0.9, 0.04))
    sure = float(doubt.binary_entropy(np.array([0.9]))[0])
    for aggregation, expected in (("mean", (1 + sure) / 2), ("sum", 1 + sure), ("max", 1.0), ("mean_topk", 1.0)):
        assert _by_id(pool, "entropy", aggregation=aggregation, top_k=1)["a"] == pytest.approx(expected)


def test_entropy_of_boxes_takes_their_class_distribution_where_they_have_one() -> None:
    pool = _detected(a=_scored(0.9, probabilities=[[0.5, 0.5]]))
    assert _by_id(pool, "entropy")["a"] == pytest.approx(1.0)
    assert _by_id(pool, "entropy", of_boxes="binary")["a"] == pytest.approx(float(doubt.binary_entropy(np.array([0.9]))[0]))


def test_csf_is_the_share_of_boxes_in_the_band() -> None:
    assert _by_id(_detected(a=_scored(0.2, 0.3, 0.6, 0.61)), "csf")["a"] == pytest.approx(2 / 3)


def test_pictures_without_boxes_are_worth_the_median_of_the_others() -> None:
    scores = _by_id(_detected(a=_scored(0.5), b=_scored(0.7), c=_scored(0.95), empty=_scored(0.01)), "entropy")
    assert scores["empty"] == scores["b"]


def test_reasons_say_how_unsure_a_picture_is_and_where_it_stands() -> None:
    pool = _detected(**{f"{row:03d}": _scored(0.5 + row / 300) for row in range(100)}, empty=_scored())
    picks = select(pool, "entropy", budget=101).picks
    assert picks[0].reasons == ("its boxes are unsure: mean doubt 1.00, among the top 1 %",)
    assert picks[9].reasons[0].endswith("among the top 10 %")
    assert ("nothing was found in it",) in {pick.reasons for pick in picks}


def test_a_chance_belongs_to_the_id_and_the_seed() -> None:
    names = [f"{row}.jpg" for row in range(2000)]
    drawn = chances(names, 3)
    assert np.array_equal(chances(names[500:600], 3), drawn[500:600])
    assert not np.array_equal(chances(names, 4), drawn)
    # Kolmogorov-Smirnov distance of 2000 even numbers: 0.043 is passed once in a thousand times; these are always the same.
    assert np.abs(np.sort(drawn) - (np.arange(2000) + 0.5) / 2000).max() < 0.043


def test_new_candidates_do_not_reshuffle_the_others() -> None:
    few = Pool([f"{row}.jpg" for row in range(50)])
    more = Pool([*few.ids, *(f"new{row}.jpg" for row in range(50))])
    old = [pick.id for pick in select(more, "random", budget=0, seed=1).picks if not pick.id.startswith("new")]
    assert old == [pick.id for pick in select(few, "random", budget=0, seed=1).picks]
