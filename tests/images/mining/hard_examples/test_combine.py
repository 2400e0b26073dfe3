"""The coefficient: what the seven say together."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mining.boxes import Boxes
from mining.hard_examples import REASONS, Answer, Parameters, Question, Training, find_hard_examples

from tests.images.mining.hard_examples.examples import ask, boxes, codes, scored


def _boxes_of(generator: np.random.Generator, count: int) -> Boxes:
    starts = generator.uniform(0, 80, (count, 2))
    corners = np.hstack([starts, starts + generator.uniform(0, 40, (count, 2))])
    return Boxes(corners, generator.random(count), generator.integers(0, 2, count), None, generator.normal(size=(count, 3)))


def _predictions(generator: np.random.Generator, count: int) -> list[Boxes | None]:
    return [None if generator.random() < 0.1 else _boxes_of(generator, int(generator.integers(0, 5))) for _ in range(count)]


def _table(generator: np.random.Generator, *shape: int) -> np.ndarray:
    """With outliers and holes."""
    table = generator.normal(10, 1, shape)
    table[generator.random(shape) < 0.1] *= 9
    table[generator.random(shape) < 0.1] = np.nan
    return table


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """With any of the parts missing, of detection or classification."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, trained = draw(st.integers(0, 14)), draw(st.sampled_from([0, 5, 30]))
    detection = draw(st.booleans())
    parts: dict[str, Any] = {"ids": [f"v{place % 2}_{place}.jpg" for place in generator.permutation(count)]}
    training: dict[str, Any] = {"features": _table(generator, trained, 14), "embeddings": _table(generator, trained, 4)}
    if detection:
        parts |= {"predictions": _predictions(generator, count), "views": {"crop": _predictions(generator, count)}}
        training |= {"boxes": _predictions(generator, trained)}
    else:
        parts |= {"probabilities": np.abs(_table(generator, count, 3)) / 60, "views": {"crop": generator.random((count, 3)) / 3}}
        training |= {"labels": generator.integers(-1, 3, trained)}
    parts |= {"features": _table(generator, count, 14), "embeddings": _table(generator, count, 4)}
    parts |= {"hashes": generator.integers(0, 4, count).astype(np.uint64), "training": Training(**training)}
    for name in draw(st.sets(st.sampled_from(["views", "features", "embeddings", "hashes", "training"]))):
        parts[name] = None
    return Question(class_names=("a", "b", "c"), **parts)


def _same(left: Answer, right: Answer) -> bool:
    """Row by row, NaN being equal to NaN."""
    return sorted(map(repr, left.rows)) == sorted(map(repr, right.rows))


@settings(max_examples=60, deadline=None)
@given(questions())
def test_hx_11_the_coefficient_is_in_0_to_1_and_hard_goes_by_it(question: Question) -> None:
    answer = find_hard_examples(question)
    assert [row.id for row in answer.rows] == list(question.ids)
    for row in answer.rows:
        assert 0 <= row.coefficient <= 1
        assert row.hard == (row.coefficient >= 0.1)
        assert all(np.isnan(strength) or 0 <= strength <= 1 for strength in row.strengths.values())
        assert all(code in REASONS for code in row.codes)
        assert len(set(row.codes)) == len(row.codes)
        assert all(0 <= box.hardness <= 1 for box in row.boxes)
        assert row.raw_sum <= row.total + 1e-9
    assert {*answer.report["ran"], *answer.report["skipped"]} == set(Parameters().algorithm_weights)
    json.dumps(answer.report, allow_nan=False)


@settings(max_examples=30, deadline=None)
@given(questions(), st.floats(0, 1), st.floats(0, 1))
def test_hx_11_raising_the_threshold_never_adds(question: Question, one: float, other: float) -> None:
    low, high = (
        {row.id for row in find_hard_examples(question, Parameters(algo_hard_threshold=threshold)).hard}
        for threshold in sorted((one, other))
    )
    assert high <= low


@settings(max_examples=30, deadline=None)
@given(questions(), st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_changes_nothing(question: Question, random: Any) -> None:
    order = list(range(len(question)))
    random.shuffle(order)
    one, other = find_hard_examples(question), find_hard_examples(question.take(order))
    assert _same(one, other)
    assert [row.id for row in one.ranked()] == [row.id for row in other.ranked()]


def test_hx_11_threshold_1_may_leave_nothing_and_is_an_answer_all_the_same() -> None:
    answer = ask(Parameters(algo_hard_threshold=1.0), predictions=[scored(0.45), scored(0.9)])
    assert (answer.hard, len(answer.rows), answer.report["hard"]) == ((), 2, 0)


def _all_that_fires() -> Question:
    """A classification whose reasons are those of the document's example."""
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    vectors = np.eye(6)[labels] + generator.normal(0, 0.05, (80, 6))
    far = np.array([[-0.3, 1, 0, 0, 0, 0.6]])
    turned = np.array([[0.1, 0.9]])
    views = {"crop": turned, "fliplr": turned, "gaussianblur": turned}
    training = Training(labels=labels, embeddings=vectors)
    return Question(["x"], ("cat", "dog"), probabilities=np.array([[0.4, 0.3]]), embeddings=far, views=views, training=training)


def test_the_documents_example_fires_the_same_reasons_and_is_clipped_to_1() -> None:
    config = Parameters(
        comprehensive_algo_config="clustering_mining:0.2020+aug_consistent_mining:0.4265+image_similarity_mining:0.0949"
        "+predict_score_mining:0.3900"
    )
    (row,) = find_hard_examples(_all_that_fires(), config).rows
    assert set(row.codes) == {1, 20, 2, 19, 21, 3}
    assert row.coefficient == 1.0 < row.raw_sum


def test_reasons_go_by_contribution_and_ties_by_number() -> None:
    cat, dog = boxes((0, 0, 9, 9, 0, 0.9)), boxes((0, 0, 9, 9, 1, 0.9))
    answer = ask(
        Parameters(aug_op_config="crop:0.1+fliplr:0.3+gaussianblur:0.1"),
        predictions=[cat],
        views={name: [dog] for name in ("crop", "fliplr", "gaussianblur")},
    )
    assert codes(answer) == [[20, 19, 21]]


def test_what_ties_at_1_is_ranked_by_the_sum_that_was_clipped() -> None:
    empty = Boxes()
    box = boxes((0, 0, 9, 9, 0, 0.9))
    answer = ask(predictions=[empty, empty, box], views={"crop": [empty, box, box]})
    assert [row.coefficient for row in answer.rows] == [1.0, 1.0, 0.0]
    assert [row.id for row in answer.ranked()] == ["p1", "p0", "p2"]


def test_an_algorithm_with_weight_0_does_not_run() -> None:
    answer = ask(Parameters(comprehensive_algo_config="predict_score_mining:0"), predictions=[scored(0.45)])
    assert (answer.report["skipped"], codes(answer)) == ({"predict_score_mining": "its weight is 0"}, [[]])


def test_an_intercept_makes_a_probability_of_all_strengths() -> None:
    parameters = Parameters(comprehensive_algo_config="predict_score_mining:2", intercept=-1.0)
    answer = ask(parameters, predictions=[scored(0.45), scored(0.9), Boxes()])
    assert [row.coefficient for row in answer.rows] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 1.0])


def test_no_candidates_are_an_answer_without_rows() -> None:
    answer = ask(ids=[], predictions=[])
    assert (answer.rows, answer.ranked(), answer.report["pictures"]) == ((), [], 0)
    assert answer.columns()["coefficient"] == []


def test_columns_are_equally_long_and_hold_every_score() -> None:
    columns = find_hard_examples(_all_that_fires()).columns()
    assert {len(values) for values in columns.values()} == {1}
    assert {"strength.clustering_mining", "disagreement.crop", "raw_sum", "total", "reasons", "box_hardness"} <= columns.keys()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ids": ["a", "a"]}, "the same id"),
        ({"features": np.zeros((1, 14))}, "features has 1 rows for 2 pictures"),
        ({"features": np.zeros((2, 13))}, "not (2, 14)"),
        ({"views": {"crop": []}}, "view crop has 0 rows for 2 pictures"),
        ({"predictions": [Boxes(), boxes((0, 0, np.nan, 9, 0, 0.5))]}, "a prediction of b has corners that are no finite numbers"),
        ({"predictions": [Boxes(), boxes((0, 0, 9, 9, 0, np.nan))]}, "a prediction of b has a score that is not between 0 and 1"),
        (
            {"predictions": [boxes((0, 0, 9, 9, 3, 0.5)), None], "class_names": ["cat"]},
            "a prediction of a has a class that is not one of the 1",
        ),
        ({"probabilities": np.ones((2, 2))}, "not of both"),
        ({"training": Training(labels=np.zeros(3), embeddings=np.zeros((2, 2)))}, "training embeddings has 2 rows for 3 pictures"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("(", r"\(").replace(")", r"\)")):
        replace(Question(["a", "b"], predictions=[Boxes(), Boxes()]), **change)
