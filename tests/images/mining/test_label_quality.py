"""Wrong labels stand out: each kind of mistake ranks above the same picture without it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mining.boxes import Boxes
from mining.label_quality import evidence_of, label_doubt

CORNERS = np.array([[0.0, 0, 10, 10], [30, 30, 50, 50], [70, 10, 90, 40]])
CLASSES = np.array([0, 1, 2])


def _found(generator: np.random.Generator) -> Boxes:
    return Boxes(CORNERS + generator.normal(0, 0.3, CORNERS.shape), generator.uniform(0.6, 0.9, 3), CLASSES)


def _spoilt(kind: str) -> Boxes:
    corners, classes = CORNERS.copy(), CLASSES.copy()
    if kind == "drop":
        corners, classes = corners[1:], classes[1:]
    elif kind == "swap":
        classes[0] = 1
    elif kind == "shift":
        corners[0] += 5
    elif kind == "invent":
        corners, classes = np.vstack([corners, [60.0, 60, 80, 80]]), np.append(classes, 0)
    return Boxes(corners, np.ones(len(classes)), classes)


@pytest.mark.parametrize("kind", ["drop", "swap", "shift", "invent"])
def test_a_picture_with_a_wrong_label_comes_first(kind: str) -> None:
    generator = np.random.default_rng(0)
    labels = [_spoilt(kind if row == 7 else "") for row in range(20)]
    assert int(label_doubt([_found(generator) for _ in labels], labels).argmax()) == 7


def test_evidence_is_nothing_where_label_and_prediction_are_the_same_and_sure() -> None:
    sure = Boxes(CORNERS, np.ones(3), CLASSES)
    assert evidence_of(sure, sure) == (0.0, 0.0, 0.0, 0.0)
    assert evidence_of(Boxes(), Boxes()) == (0.0, 0.0, 0.0, 0.0)
    assert evidence_of(sure, Boxes())[3] == 1.0
    assert evidence_of(Boxes(), sure)[1:3] == (1.0, 1.0)


@given(st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_doubts_are_finite_in_0_to_1_and_go_with_their_pictures(count: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    found = [_found(generator) for _ in range(count)]
    labels = [_spoilt(str(generator.choice(["", "drop", "swap", "shift"]))) for _ in range(count)]
    doubts = label_doubt(found, labels)
    assert doubts.shape == (count,)
    assert ((doubts >= 0) & (doubts <= 1)).all()
    order = generator.permutation(count)
    assert np.allclose(label_doubt([found[row] for row in order], [labels[row] for row in order]), doubts[order])
