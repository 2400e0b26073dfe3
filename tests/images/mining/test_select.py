"""What holds for every strategy, whatever the pool looks like."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mining import STRATEGIES, Boxes, Labelled, MiningError, Pool, Selection, select

from tests.images.mining.pools import CLASSES, classification_pool, detection_pool

POOLS = {"detection": detection_pool, "classification": classification_pool}
KINDS = [(name, kind) for name, strategy in STRATEGIES.items() for kind in strategy.kinds]


def _check(selection: Selection, pool: Pool, budget: int) -> None:
    """The promises of Selection."""
    assert sorted(pick.id for pick in selection.picks) == sorted(pool.ids)
    scores = [pick.score for pick in selection.picks]
    assert np.isfinite(scores).all()
    assert scores == sorted(scores, reverse=True)
    assert len(selection.selected) == min(budget, len(pool))
    assert all(pick.reasons and all(pick.reasons) for pick in selection.selected)


@pytest.mark.parametrize(("name", "kind"), KINDS)
@pytest.mark.parametrize(("count", "budget"), [(60, 7), (60, 0), (5, 50), (1, 1), (2, 1), (0, 3)])
def test_every_candidate_comes_back_once_best_first_with_reasons(name: str, kind: str, count: int, budget: int) -> None:
    pool = POOLS[kind](count)
    _check(select(pool, name, budget=budget), pool, budget)


@settings(max_examples=12, deadline=None)
@given(st.permutations(range(30)), st.integers(0, 3))
@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_the_order_of_the_candidates_does_not_matter(name: str, kind: str, order: list[int], seed: int) -> None:
    pool = POOLS[kind](30, seed)
    given_order = select(pool.rows(np.array(order)), name, budget=6, seed=seed)
    assert given_order.picks == select(pool, name, budget=6, seed=seed).picks


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_a_seed_gives_the_same_picks_again(name: str, kind: str) -> None:
    pool = POOLS[kind]()
    assert select(pool, name, budget=9, seed=5) == select(pool, name, budget=9, seed=5)


@pytest.mark.parametrize("name", ["random", "badge", "ppal"])
def test_another_seed_gives_other_picks(name: str) -> None:
    picks = {tuple(pick.id for pick in select(detection_pool(), name, budget=9, seed=seed).selected) for seed in range(4)}
    assert len(picks) > 1


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_identical_pictures_are_ranked_by_id(name: str, kind: str) -> None:
    one = POOLS[kind](1)
    count = 12
    pool = replace(one.rows(np.zeros(count, np.int64)), ids=[f"{number:02d}" for number in range(count)])
    selection = select(pool, name, budget=4)
    _check(selection, pool, 4)
    if name != "random":
        assert [pick.id for pick in selection.selected] == ["00", "01", "02", "03"]


@pytest.mark.parametrize("name", [name for name, kind in KINDS if kind == "detection"])
def test_a_pool_without_a_single_box_is_ranked(name: str) -> None:
    nothing = Boxes(probabilities=np.zeros((0, 3)), features=np.zeros((0, 6)))
    pool = detection_pool(9)
    pool = replace(pool, predictions=[nothing] * 9, views={"flip": [nothing] * 9})
    _check(select(pool, name, budget=4), pool, 4)


@pytest.mark.parametrize("name", ["least_confidence", "margin", "entropy", "csf", "cald", "default", "ppal"])
def test_pictures_without_boxes_stand_where_the_parameter_says(name: str) -> None:
    pool = detection_pool(40)
    assert pool.predictions is not None
    least = 0.3 if name == "csf" else 0.05
    empty = {name for name, boxes in zip(pool.ids, pool.predictions, strict=True) if not len(boxes.at_least(least))}
    assert 3 < len(empty) < 20
    scores = {}
    for policy in ("neutral", "first", "last"):
        selection = select(pool, name, budget=0, parameters={"empty": policy})
        scores[policy] = [pick.id in empty for pick in selection.picks]
        assert selection.report["without_boxes"] == len(empty)
    assert all(scores["first"][: len(empty)])
    assert all(scores["last"][-len(empty) :])
    assert not scores["neutral"][0]
    assert not scores["neutral"][-1]


@pytest.mark.parametrize(("name", "kind"), KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_told_and_hurt_no_other_picture(name: str, kind: str, bad: float) -> None:
    pool = POOLS[kind]()
    embeddings = np.array(pool.embeddings)
    embeddings[3, 2] = bad
    pool = replace(pool, embeddings=embeddings)
    if pool.predictions is not None:
        boxes = next(row for row, found in enumerate(pool.predictions) if len(found) > 1)
        scores = pool.predictions[boxes].scores.copy()
        scores[0] = np.nan
        broken = replace(pool.predictions[boxes], scores=scores)
        pool = replace(pool, predictions=[broken if row == boxes else found for row, found in enumerate(pool.predictions)])
    else:
        probabilities = np.array(pool.probabilities)
        probabilities[5, 0] = np.nan
        pool = replace(pool, probabilities=probabilities)
    selection = select(pool, name, budget=6)
    _check(selection, pool, 6)
    assert any("not finite" in sentence or "not a finite" in sentence for sentence in selection.skipped)
    if "embeddings" in STRATEGIES[name].needs | STRATEGIES[name].uses and not (name == "badge" and kind == "detection"):
        assert "00003.jpg" not in {pick.id for pick in selection.selected}


@pytest.mark.parametrize(
    ("name", "part", "pool"),
    [
        ("core_set", "embeddings", detection_pool()),
        ("typiclust", "embeddings", detection_pool()),
        ("cald", "views", detection_pool()),
        ("aldd", "class_maps", detection_pool()),
        ("entropy", "predictions", detection_pool()),
        ("default", "predictions", detection_pool()),
        ("badge", "embeddings", classification_pool()),
    ],
)
def test_a_strategy_without_its_need_is_refused_by_name(name: str, part: str, pool: Pool) -> None:
    with pytest.raises(MiningError, match=f"strategy {name} needs {part}"):
        select(replace(pool, **{part: None}), name, budget=3)


def test_boxes_without_features_or_probabilities_are_refused_where_they_are_needed() -> None:
    pool = detection_pool(10)
    assert pool.predictions is not None
    plain = replace(pool, predictions=[replace(boxes, probabilities=None, features=None) for boxes in pool.predictions])
    for name, need in (("badge", "features"), ("ppal", "features"), ("cdal", "probabilities")):
        with pytest.raises(MiningError, match=need):
            select(plain, name, budget=3)


def test_a_strategy_of_the_other_kind_is_refused() -> None:
    with pytest.raises(MiningError, match="csf is for detection"):
        select(classification_pool(), "csf", budget=3)


def test_the_default_says_what_it_did_without() -> None:
    pool = replace(detection_pool(), embeddings=None, labelled=Labelled())
    selection = select(pool, budget=5)
    assert any("no embeddings" in sentence for sentence in selection.skipped)
    assert any("counts of labelled classes" in sentence for sentence in selection.skipped)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strategy": "best"}, "unknown strategy 'best'; there are: aldd"),
        ({"budget": -1}, "budget: -1"),
        ({"budget": 2.5}, "budget: 2.5"),
        ({"parameters": {"topk": 3}}, "no parameter 'topk'; it has: aggregation"),
        ({"parameters": {"top_k": 0}}, r"top_k: 0 is outside \[1"),
        ({"parameters": {"top_k": "3"}}, "top_k: '3' is not a whole number"),
        ({"parameters": {"aggregation": "median"}}, "aggregation: 'median' is not one of 'mean'"),
        ({"parameters": {"random_share": float("nan")}}, "random_share: nan"),
        ({"parameters": {"class_quotas": 1}}, "class_quotas: 1 is not one of False, True"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(MiningError, match=words):
        select(detection_pool(5), **{"strategy": "entropy", "budget": 3, **change})


def _scores(*scores: float) -> Boxes:
    count = len(scores)
    return Boxes(np.tile([0.0, 0, 9, 9], (count, 1)), np.array(scores), np.zeros(count, np.int64))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ids": ["a", "a"]}, "ids: 1 are given twice"),
        ({"ids": ["a", 7]}, "ids: 7 is no text"),
        ({"hashes": ["x", "y"]}, "hashes: an array of <U1"),
        ({"predictions": [_scores(0.5), [0.5]]}, "predictions of 'b': list is no Boxes"),
        ({"predictions": [replace(_scores(0.5), features=np.ones((1, n))) for n in (2, 3)]}, "features of 2 and 3 numbers"),
        ({"predictions": [_scores(0.5), replace(_scores(0.5), probabilities=np.ones((1, 2)) / 2)]}, "'b', probabilities: has the shape"),
        (
            {"class_names": (), "labelled": Labelled(np.array([3.0])), "predictions": [replace(_scores(0.5), classes=np.array([1]))] * 2},
            "class 1",
        ),
        ({"labelled": Labelled(class_difficulty=np.array([0.0, 2.0, 0.0]))}, "give numbers from 0 to 1"),
        ({"embeddings": np.zeros((3, 4))}, "embeddings: 3 rows for 2 candidates"),
        ({"embeddings": np.zeros(2)}, "embeddings: has the shape"),
        ({"embeddings": [["x"], ["y"]]}, "embeddings: not an array of numbers"),
        ({"hashes": np.zeros(1, np.uint64)}, "hashes: 1 rows"),
        ({"predictions": [_scores(0.5)]}, "predictions: 1 rows"),
        ({"predictions": [_scores(0.5), _scores(1.5)]}, "predictions of 'b': score 1.5 is outside"),
        ({"predictions": [_scores(0.5), replace(_scores(0.5), classes=np.array([3]))]}, "predictions of 'b': class 3"),
        ({"predictions": [_scores(0.5), replace(_scores(0.5), classes=np.array([-1]))]}, "predictions of 'b': class -1"),
        ({"predictions": [_scores(0.5), replace(_scores(0.5, 0.6), classes=np.array([1]))]}, "1 classes for 2 scores"),
        ({"predictions": None, "probabilities": np.array([[0.2, 0.8], [0.1, 0.9]])}, "2 columns for 3 class names"),
        ({"predictions": None, "probabilities": np.array([[0.2, 0.8, 0], [2.0, 3.0, -5.0]])}, "probabilities of 'b'"),
        ({"labelled": Labelled(class_counts=np.array([1.0]))}, "class_counts: 1 numbers for 3 class names"),
        ({"labelled": Labelled(class_counts=np.array([1.0, -2, 3]))}, "holds what is none"),
        (
            {"embeddings": np.zeros((2, 4)), "labelled": Labelled(embeddings=np.zeros((5, 3), np.float32))},
            "labelled.embeddings: 3 numbers each",
        ),
    ],
)
def test_a_pool_that_does_not_fit_together_is_refused(change: dict[str, Any], words: str) -> None:
    pool = Pool(["a", "b"], CLASSES, [_scores(0.5), _scores(0.5)])
    with pytest.raises(MiningError, match=words):
        select(replace(pool, **change), "entropy", budget=1)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(KINDS), st.data())
def test_garbage_is_refused_or_ranked_but_never_a_crash(case: tuple[str, str], data: st.DataObject) -> None:
    name, kind = case
    pool = POOLS[kind](6)
    values = st.sampled_from([float("nan"), float("inf"), -float("inf"), -1.0, 0.0, 0.5, 1.0, 7.0, 1e30, -1e300])
    arrays = st.lists(values, min_size=0, max_size=24).map(np.array)
    shapes = st.sampled_from([(6, -1), (-1,), (2, -1), (6, 3, -1), (6, 8), (6, 3)])
    part = data.draw(st.sampled_from(["embeddings", "probabilities", "hashes", "labelled", "predictions", "views", "class_maps"]))
    garbage = data.draw(arrays)
    shape = data.draw(shapes)
    if np.prod(shape) > 0 or garbage.size % max(1, abs(int(np.prod(shape)))) or not garbage.size:
        garbage = np.resize(garbage, [abs(side) for side in shape]) if garbage.size else np.zeros((6, 0))
    else:
        garbage = garbage.reshape(shape)
    changed: Any = garbage
    if part == "labelled":
        field = data.draw(st.sampled_from(["class_counts", "embeddings", "hashes", "class_difficulty"]))
        changed = replace(pool.labelled, **{field: garbage})
    elif part == "class_maps":
        changed = lambda row: garbage  # noqa: E731
    elif part == "views":
        changed = {"flip": garbage}
    elif part == "predictions" and pool.predictions is not None:
        field = data.draw(st.sampled_from(["corners", "scores", "classes", "probabilities", "features"]))
        changed = [replace(boxes, **{field: garbage}) for boxes in pool.predictions]
    elif part == "predictions":
        return
    try:
        with np.errstate(invalid="ignore"):
            selection = select(replace(pool, **{part: changed}), name, budget=3)
    except MiningError:
        return
    _check(selection, pool, 3)


def test_the_pool_is_not_changed() -> None:
    pool = detection_pool(30)
    before = (np.array(pool.embeddings), [boxes.scores.copy() for boxes in pool.predictions or ()], list(pool.ids))
    for name in STRATEGIES:
        select(pool, name, budget=5)
    assert np.array_equal(before[0], pool.embeddings)  # type: ignore[arg-type]
    assert all(np.array_equal(left, right.scores) for left, right in zip(before[1], pool.predictions or (), strict=True))
    assert before[2] == list(pool.ids)


def test_a_report_is_ready_for_json() -> None:
    import json

    for name, kind in KINDS:
        parameters = {"random_share": 0.2, "class_quotas": True, "near_duplicate_distance": 0.1}
        report = select(POOLS[kind](), name, budget=10, parameters=parameters).report
        assert json.loads(json.dumps(report))["parameters"]["random_share"] == 0.2
