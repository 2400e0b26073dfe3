"""predict_score_mining: what the confidences say."""

from __future__ import annotations

import numpy as np
import pytest
from mining.boxes import Boxes
from mining.hard_examples import Training

from tests.images.mining.hard_examples.examples import ask, codes, only, scored

ALONE = "predict_score_mining"


def test_hx_04_scores_below_between_and_above_the_bounds() -> None:
    answer = ask(only(ALONE), predictions=[scored(0.25), scored(0.45), scored(0.9)])
    assert [(row.hard, row.codes) for row in answer.rows] == [(False, ()), (True, (1,)), (False, ())]


def test_hx_04_the_same_of_three_boxes_of_one_picture() -> None:
    (row,) = ask(only(ALONE), predictions=[scored(0.25, 0.45, 0.9)]).rows
    assert [(box.hardness > 0, box.codes) for box in row.boxes] == [(False, ()), (True, (1,)), (False, ())]
    assert row.strengths[ALONE] == 0.5  # of the two from the lower bound on


@pytest.mark.parametrize(("rule", "expected"), [("uncertainty", [[], [1], [1]]), ("literal", [[1], [], [1]])])
def test_hx_04_margin_both_ways(rule: str, expected: list[list[int]]) -> None:
    """Sure, the document's example 0.589 against 0.411 with the upper bound lowered, and below the upper bound."""
    probabilities = np.array([[0.97, 0.03], [0.589, 0.411], [0.5, 0.5]])
    answer = ask(only(ALONE, margin_rule=rule, score_threshold_up=0.55), probabilities=probabilities)
    assert codes(answer) == expected


def test_the_documents_example_is_hard_and_its_strength_is_one_minus_the_gap() -> None:
    (row,) = ask(only(ALONE), probabilities=np.array([[0.589, 0.411]])).rows
    assert (row.codes, row.strengths[ALONE]) == ((1,), pytest.approx(0.822))


def test_nothing_found_is_reason_0_with_coefficient_1_though_it_weighs_less() -> None:
    (row,) = ask(predictions=[Boxes()]).rows
    assert (row.coefficient, row.raw_sum, row.reasons, row.hard) == (1.0, 0.39, "0", True)


@pytest.mark.parametrize(("policy", "coefficient", "reasons"), [("hard", 1.0, (0,)), ("prior", 0.75, (0,)), ("ignore", 0.0, ())])
def test_an_empty_picture_by_policy(policy: str, coefficient: float, reasons: tuple[int, ...]) -> None:
    training = Training(boxes=[Boxes(), scored(1), scored(1), scored(1)])
    (row,) = ask(only(ALONE, empty_policy=policy), predictions=[Boxes()], training=training).rows
    assert (row.coefficient, row.codes) == (coefficient, reasons)


def test_boxes_below_a_score_can_be_told_not_to_count_as_found() -> None:
    answer = ask(only(ALONE, empty_below=0.3), predictions=[scored(0.25), scored(0.45)])
    assert codes(answer) == [[0], [1]]


def test_a_picture_that_the_model_did_not_look_at_is_not_judged() -> None:
    answer = ask(only(ALONE), predictions=[None, scored(0.45)])
    assert (codes(answer), answer.report["not_judged"]) == ([[], [1]], {ALONE: 1})
    assert np.isnan(answer.rows[0].strengths[ALONE])
    unknown = ask(only(ALONE), probabilities=np.array([[np.nan, np.nan], [0.0, 0.0]]))
    assert (codes(unknown), unknown.report["not_judged"]) == ([[], []], {ALONE: 2})


def test_one_class_alone_has_no_second_best() -> None:
    answer = ask(only(ALONE), probabilities=np.array([[0.95], [0.4]]))
    assert codes(answer) == [[], [1]]


def test_the_expected_error_counts_what_is_probably_wrong_and_what_was_probably_missed() -> None:
    answer = ask(only(ALONE, score_rule="expected"), predictions=[scored(0.9, 0.9), scored(0.9, 0.45), scored(0.9, 0.25), scored(0.9, 0.1)])
    assert codes(answer) == [[], [1], [1], []]
    assert [row.strengths[ALONE] for row in answer.rows] == pytest.approx([0, 1 - 2 * 1.35 / (2 + 1.35), 1 - 2 * 0.9 / (1 + 1.15), 0])


def test_the_expected_error_of_pictures_drawn_by_their_scores_is_their_error_on_average() -> None:
    generator = np.random.default_rng(0)
    scores = [generator.uniform(0.15, 1, 12) for _ in range(2000)]
    strengths = [row.strengths[ALONE] for row in ask(only(ALONE, score_rule="expected"), predictions=[scored(*one) for one in scores]).rows]
    errors = []
    for one in scores:
        there = generator.random(12) < one
        kept = one >= 0.3
        errors.append(1 - 2 * (there & kept).sum() / (kept.sum() + there.sum()))
    assert np.mean(strengths) == pytest.approx(np.mean(errors), abs=0.01)
