"""Fitted weights, against the libraries that everyone uses."""

from __future__ import annotations

import numpy as np
import pytest
from mining.boxes import Boxes
from mining.hard_examples import Answer, Parameters, Row, find_hard_examples
from mining.hard_examples.question import Question
from mining.hard_examples.weights import area_under_curve, calibration_error, fit_weights, logistic, picture_errors, worst_fifth
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tests.images.mining.hard_examples.examples import boxes, scored


def _data(seed: int, true: tuple[float, ...], count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    table = generator.random((count, len(true)))
    chance = 1 / (1 + np.exp(-(table @ np.array(true) - 2.5)))
    return table, generator.random(count) < chance


def test_without_a_bound_that_bites_the_weights_are_those_of_scikit_learn() -> None:
    table, hard = _data(1, (3.0, 1.5))
    weights, intercept = logistic(table, hard, penalty=0.01)
    peer = LogisticRegression(C=1 / (0.01 * len(table)), tol=1e-10, max_iter=1000).fit(table / table.std(axis=0), hard)
    assert weights == pytest.approx(peer.coef_[0] / table.std(axis=0), abs=1e-4)
    assert intercept == pytest.approx(peer.intercept_[0], abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_with_the_bound_the_loss_is_as_low_as_scipys(seed: int) -> None:
    table, hard = _data(seed, (3.0, -2.0, 0.0))

    def loss(point: np.ndarray) -> float:
        margin = (table @ point[:-1] + point[-1]) * np.where(hard, 1, -1)
        return float(np.logaddexp(0, -margin).mean() + 0.005 * ((point[:-1] * table.std(axis=0)) ** 2).sum())

    weights, intercept = logistic(table, hard, penalty=0.01)
    peer = minimize(loss, np.zeros(4), method="L-BFGS-B", bounds=[(0, None)] * 3 + [(None, None)], options={"ftol": 1e-14, "gtol": 1e-9})
    assert weights.min() >= 0
    assert weights[1] == 0.0
    assert loss(np.append(weights, intercept)) <= peer.fun + 1e-8


def test_a_strength_that_differs_little_is_not_held_back_by_the_penalty() -> None:
    table, hard = _data(2, (3.0, 1.5))
    weights, _ = logistic(table, hard, penalty=0.01)
    narrow, _ = logistic(table * [0.01, 1.0], hard, penalty=0.01)
    assert narrow == pytest.approx(weights * [100, 1], rel=1e-4)


def test_separable_data_has_an_answer() -> None:
    weights, intercept = logistic(np.array([[0.0], [1.0]] * 20), np.array([False, True] * 20), penalty=1e-3)
    assert np.isfinite([*weights, intercept]).all()


def _answer(table: np.ndarray) -> Answer:
    names = ("predict_score_mining", "aug_consistent_mining")
    rows = [
        Row(f"p{i}", float(row.sum() / 2), 0.0, 0.0, False, (), dict(zip(names, row.tolist(), strict=True))) for i, row in enumerate(table)
    ]
    return Answer(tuple(rows), {})


def test_fitted_weights_make_the_coefficient_a_probability() -> None:
    table, _ = _data(3, (2.0, 0.0), 600)
    errors = table[:, 0] + np.random.default_rng(0).normal(0, 0.2, 600)
    fitted = fit_weights(_answer(table), errors.clip(0, 1))
    assert fitted.weights["predict_score_mining"] > 5 > 1 > fitted.weights["aug_consistent_mining"]
    assert fitted.ece_held_out < 0.08 < fitted.ece_before
    assert fitted.auroc_held_out > fitted.auroc_before
    assert Parameters.parse({"comprehensive_algo_config": fitted.config}).algorithm_weights == pytest.approx(fitted.weights, abs=1e-4)


def test_the_operator_with_fitted_parameters_gives_the_fitted_probabilities() -> None:
    generator = np.random.default_rng(4)
    found = [scored(*generator.uniform(0.3, 1, 6)) for _ in range(200)]
    question = Question([f"p{i}" for i in range(200)], ("cat",), found)
    parameters = Parameters(comprehensive_algo_config="predict_score_mining:0.39")
    before = find_hard_examples(question, parameters)
    errors = np.array([row.strengths["predict_score_mining"] for row in before.rows]) + generator.normal(0, 0.1, 200)
    fitted = fit_weights(before, errors.clip(0, 1))
    after = find_hard_examples(question, fitted.parameters(parameters))
    hard = worst_fifth(errors.clip(0, 1))
    assert calibration_error(np.array([row.coefficient for row in after.rows]), hard) == pytest.approx(fitted.ece_after, abs=1e-3)
    assert fitted.ece_after < fitted.ece_before


@pytest.mark.parametrize("errors", [np.zeros(30), np.linspace(0, 1, 10), np.linspace(0, 1, 31)])
def test_too_little_to_fit_is_refused(errors: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"pictures are needed|errors for 30 pictures"):
        fit_weights(_answer(np.zeros((len(errors) if len(errors) < 31 else 30, 2))), errors)


def test_errors_of_pictures_are_1_minus_f1_and_the_worst_fifth_never_holds_a_right_one() -> None:
    one = boxes((0, 0, 9, 9, 0, 0.9))
    errors = picture_errors([one, Boxes(), one], [one, one, boxes((0, 0, 9, 9, 1, 1.0))])
    assert errors.tolist() == [0, 1, 1]
    assert worst_fifth(np.array([0, 0, 0, 0, 0.5])).tolist() == [False] * 4 + [True]
    assert not worst_fifth(np.zeros(5)).any()


def test_auroc_is_that_of_scikit_learn_and_ece_of_known_cases() -> None:
    generator = np.random.default_rng(0)
    scores, hard = generator.integers(0, 10, 200) / 10, generator.random(200) < 0.3
    assert area_under_curve(scores, hard) == pytest.approx(roc_auc_score(hard, scores))
    assert calibration_error(np.array([0.0, 0.0, 1.0, 1.0]), np.array([False, False, True, True])) == 0.0
    assert calibration_error(np.full(4, 0.9), np.array([False, False, True, True])) == pytest.approx(0.4)
