"""image_similarity_mining: far from the training data of the predicted class."""

from __future__ import annotations

import numpy as np
import pytest
from mining.boxes import Boxes
from mining.hard_examples import Training
from mining.hard_examples.neighbours import covering_rows

from tests.images.mining.hard_examples.examples import ask, boxes, codes, only, two_clouds

ALONE = "image_similarity_mining"
VECTORS, LABELS = two_clouds()
TRAINING = Training(labels=LABELS, embeddings=VECTORS, embedder="tiny")
FRESH, _ = two_clouds((1, 1), seed=5)


def _ask(ratio: float = 1.0, training: Training = TRAINING, vectors: np.ndarray = FRESH):
    probabilities = np.array([[0.9, 0.1]] * len(vectors))
    return ask(
        only(ALONE, similarity_sample_ratio=ratio), probabilities=probabilities, embeddings=vectors, embedder="tiny", training=training
    )


def test_hx_09_unlike_its_predicted_class_has_reason_3() -> None:
    answer = _ask()  # both are predicted to be of the first class, of which the second is not
    assert codes(answer) == [[], [3]]
    assert answer.rows[1].strengths[ALONE] == pytest.approx(40 / 41)


def test_hx_09_a_ratio_of_a_half_compares_with_half_of_each_class() -> None:
    answer = _ask(0.5)
    report = answer.report["algorithms"][ALONE]
    assert (report["training_items"], report["compared_with"]) == ({"cat": 40, "dog": 40}, {"cat": 20, "dog": 20})
    assert codes(answer) == [[], [3]]


def test_hx_09_ratio_0_still_compares_with_one_of_each_class() -> None:
    assert _ask(0.0).report["algorithms"][ALONE]["compared_with"] == {"cat": 1, "dog": 1}


def test_a_covering_subset_covers() -> None:
    vectors = np.repeat(np.eye(4, dtype=np.float32), 25, axis=0)
    assert len({row // 25 for row in covering_rows(vectors, 4, seed=0)}) == 4
    assert covering_rows(vectors, 500, seed=0).tolist() == list(range(100))


def test_a_class_with_few_pictures_is_measured_by_the_distances_of_all() -> None:
    vectors, labels = two_clouds((6, 60))
    answer = _ask(training=Training(labels=labels, embeddings=vectors, embedder="tiny"))
    assert answer.report["algorithms"][ALONE]["pooled_classes"] == ["cat"]
    assert codes(answer)[1] == [3]


def test_copies_in_the_training_data_do_not_make_everything_far() -> None:
    copied = Training(labels=np.repeat(LABELS, 5), embeddings=np.repeat(VECTORS, 5, axis=0), embedder="tiny")
    assert codes(_ask(training=copied)) == codes(_ask())


def test_a_class_that_was_never_trained_is_not_judged_and_said() -> None:
    answer = _ask(training=Training(labels=np.ones(80, np.int64), embeddings=VECTORS, embedder="tiny"))
    assert np.isnan([row.strengths[ALONE] for row in answer.rows]).all()
    assert "no training data of the predicted classes cat" in answer.report["warnings"][0]


def test_a_false_alarm_is_as_rare_as_the_percentile_promises() -> None:
    fresh, _ = two_clouds((400, 0), seed=9)
    assert 0.0 < np.mean([row.hard for row in _ask(vectors=fresh).rows]) < 0.12


def test_detection_goes_by_boxes_where_they_are_embedded_and_by_pictures_else() -> None:
    truth = [Boxes(np.zeros((1, 4)), np.ones(1), LABELS[[row]], None, VECTORS[[row]]) for row in range(80)]
    found = [boxes((0, 0, 9, 9, 0, 0.9), features=FRESH[[row]]) for row in range(2)]
    by_box = ask(only(ALONE), predictions=found, training=Training(boxes=truth))
    assert (codes(by_box), [box.codes for row in by_box.rows for box in row.boxes]) == ([[], [3]], [(), (3,)])
    plain = Training(boxes=[Boxes(box.corners, box.scores, box.classes) for box in truth], embeddings=VECTORS)
    by_picture = ask(only(ALONE), predictions=[boxes((0, 0, 9, 9, 0, 0.9))] * 2, embeddings=FRESH, training=plain)
    assert codes(by_picture) == [[], [3]]
    neither = ask(only(ALONE), predictions=found, training=Training(boxes=plain.boxes))
    assert neither.report["skipped"][ALONE] == "there are no embeddings of the candidates"
