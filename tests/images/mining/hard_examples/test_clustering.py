"""clustering_mining: the cluster says another class than the prediction."""

from __future__ import annotations

import numpy as np
from mining.boxes import Boxes
from mining.hard_examples import Training

from tests.images.mining.hard_examples.examples import ask, boxes, codes, only, two_clouds

ALONE = "clustering_mining"
VECTORS, LABELS = two_clouds()
TRAINING = Training(labels=LABELS, embeddings=VECTORS, embedder="tiny")


def test_hx_07_in_cluster_a_but_predicted_b_has_reason_2() -> None:
    answer = ask(only(ALONE), probabilities=np.array([[0.9, 0.1], [0.1, 0.9]]), embeddings=VECTORS[:2], embedder="tiny", training=TRAINING)
    assert codes(answer) == [[], [2]]
    assert answer.rows[1].strengths[ALONE] > 0.85 > 0.2 > answer.rows[0].strengths[ALONE]


def test_clusters_without_a_clear_class_flag_nothing() -> None:
    mixed = Training(labels=np.arange(80) % 2, embeddings=two_clouds((80,))[0], embedder="tiny")
    answer = ask(only(ALONE), probabilities=np.array([[0.9, 0.1], [0.1, 0.9]]), embeddings=VECTORS[:2], embedder="tiny", training=mixed)
    clusters = answer.report["algorithms"][ALONE]
    assert clusters["pure_clusters"] < clusters["clusters"]
    assert codes(answer).count([2]) <= 1


def test_a_box_in_the_wrong_cluster_is_named_and_the_picture_with_it() -> None:
    two = boxes((0, 0, 9, 9, 0, 0.9), (20, 20, 29, 29, 0, 0.9), features=VECTORS[[0, 50]])
    faint = boxes((0, 0, 9, 9, 1, 0.1), features=VECTORS[[0]])
    training = Training(boxes=[Boxes(np.zeros((1, 4)), np.ones(1), LABELS[[row]], None, VECTORS[[row]]) for row in range(80)])
    answer = ask(only(ALONE), predictions=[two, faint], training=training)
    assert codes(answer) == [[2], []]
    assert [box.codes for box in answer.rows[0].boxes] == [(), (2,)]
    assert np.isnan(answer.rows[1].strengths[ALONE])  # its only box is below the lower bound


def test_embeddings_of_different_models_are_not_compared() -> None:
    answer = ask(only(ALONE), probabilities=np.array([[0.9, 0.1]]), embeddings=VECTORS[:1], embedder="other", training=TRAINING)
    assert "embedded by 'tiny', the candidates by 'other'" in answer.report["skipped"][ALONE]


def test_embeddings_of_different_length_are_not_compared() -> None:
    answer = ask(probabilities=np.array([[0.9, 0.1]]), embeddings=np.ones((1, 5)), embedder="tiny", training=TRAINING)
    said = "the embeddings of the training data and of the candidates have 6 and 5 numbers: they cannot be compared"
    for name in (ALONE, "image_similarity_mining", "anomaly_detection_mining"):
        assert answer.report["skipped"][name] == said
