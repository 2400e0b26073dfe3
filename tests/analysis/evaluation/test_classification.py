"""Labels of whole pictures, by hand and beside scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.evaluation.classification import evaluate_classification, evaluate_labels
from analysis.evaluation.objects import InputError

NAMES = ["cat", "dog", "owl"]


def test_four_pictures_by_hand() -> None:
    made = evaluate_classification([0, 0, 1, 2], [0, 1, 1, -1], NAMES)
    metrics = made["metrics"]
    assert metrics["accuracy"] == 0.5
    assert "top5_accuracy" not in metrics
    assert metrics["macro_recall"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert metrics["macro_precision"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert metrics["weighted_recall"] == pytest.approx((2 * 0.5 + 1) / 4)
    assert (metrics["micro_precision"], metrics["micro_recall"]) == pytest.approx((2 / 3, 0.5))
    assert {(cell["true"], cell["predicted"]): cell["count"] for cell in made["confusion"]} == {
        ("cat", "cat"): 1, ("cat", "dog"): 1, ("dog", "dog"): 1, ("owl", None): 1,
    }  # fmt: skip
    assert made["definitions"].keys() >= metrics.keys()


def test_scores_give_the_surest_class_and_the_top_five() -> None:
    scores = np.array([[6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6], [1, 1, 1, 1, 1, 1]]) / 6
    made = evaluate_classification([1, 0, 4], None, list("abcdef"), scores=scores)
    assert made["metrics"]["accuracy"] == 0
    assert made["metrics"]["top5_accuracy"] == pytest.approx(2 / 3)  # of equal scores the first classes are surer: e is the fifth


def test_several_labels_by_hand() -> None:
    made = evaluate_labels([[1, 1, 0], [0, 1, 0], [0, 0, 0]], [[1, 0, 0], [0, 1, 0], [0, 0, 1]], NAMES)
    assert made["metrics"]["subset_accuracy"] == pytest.approx(1 / 3)
    assert [(row["tp"], row["fp"], row["fn"]) for row in made["classes"]] == [(1, 0, 0), (1, 0, 1), (0, 1, 0)]
    assert made["metrics"]["micro_f1"] == pytest.approx(4 / 6)


@given(st.integers(1, 40), st.integers(1, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_means_are_those_of_scikit_learn(count: int, classes: int, seed: int) -> None:
    from sklearn.metrics import precision_recall_fscore_support

    random = np.random.default_rng(seed)
    truth, guess = random.integers(0, classes, (2, count))
    metrics = evaluate_classification(truth, guess, [str(number) for number in range(classes)])["metrics"]
    for average in ("macro", "micro", "weighted"):
        theirs = precision_recall_fscore_support(truth, guess, average=average, zero_division=0)[:3]
        ours = [metrics[f"{average}_{name}"] for name in ("precision", "recall", "f1")]
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize(
    ("truth", "predicted", "scores", "words"),
    [
        ([3], [0], None, "truth: 3, but there are 3 classes"),
        ([-1], [0], None, "truth: -1"),
        ([0], [0.5], None, "no whole numbers"),
        ([0, 1], [0], None, "2 truths, but 1 predictions"),
        ([0], None, [[0.1, np.nan, 0.2]], "scores: not a number"),
        ([0], None, [[0.1, 0.2]], "but there are 3 classes"),
        ([0], None, None, "neither"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(truth: Any, predicted: Any, scores: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        evaluate_classification(truth, predicted, NAMES, scores=scores)


def test_nothing_at_all_has_no_numbers() -> None:
    assert set(evaluate_classification(np.empty(0, np.int64), np.empty(0, np.int64), NAMES)["metrics"].values()) == {None}
