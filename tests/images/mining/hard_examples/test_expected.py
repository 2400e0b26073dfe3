"""The expected error: learnt on labelled pictures, it ranks others by how wrong the model is on them."""

from __future__ import annotations

import numpy as np
import pytest
from mining.boxes import Boxes
from mining.hard_examples.expected import fit_expectation
from mining.hard_examples.weights import area_under_curve, picture_errors, worst_fifth


def _world(seed: int, count: int = 120) -> tuple[list[Boxes], list[Boxes], list[Boxes]]:
    """Predictions, labels and a view of pictures: a box is right as often as its score says, and the view shows mostly what is right."""
    generator = np.random.default_rng(seed)
    found, truths, views = [], [], []
    for _ in range(count):
        boxes = int(generator.integers(2, 9))
        corners = np.array([[30.0 * place, 0, 30 * place + 20, 20] for place in range(boxes)])
        scores = generator.beta(*((4, 2) if generator.random() < 0.7 else (2, 4)), boxes)
        classes = generator.integers(0, 2, boxes)
        right = generator.random(boxes) < scores
        seen = generator.random(boxes) < np.where(right, 0.9, 0.3)
        found.append(Boxes(corners, scores, classes))
        truths.append(Boxes(corners[right], np.ones(right.sum()), classes[right]))
        views.append(Boxes(corners[seen], scores[seen], classes[seen]))
    return found, truths, views


def test_it_ranks_pictures_that_it_has_not_seen_by_their_error_and_views_help() -> None:
    learnt, held = _world(0), _world(1)
    errors = picture_errors(held[0], held[1])
    with_views = fit_expectation(*learnt[:2], {"fliplr": learnt[2]}, 2).errors(held[0], {"fliplr": held[2]})
    without = fit_expectation(*learnt[:2], {}, 2).errors(held[0], {})
    assert area_under_curve(without, worst_fifth(errors)) > 0.75
    assert np.corrcoef(with_views, errors)[0, 1] > np.corrcoef(without, errors)[0, 1] > 0.4


def test_the_coefficient_is_a_probability_that_orders_as_the_error_does() -> None:
    found, truths, views = _world(2)
    fitted = fit_expectation(found, truths, {"fliplr": views}, 2)
    errors, coefficients = fitted.errors(found, {"fliplr": views}), fitted.coefficients(found, {"fliplr": views})
    assert ((coefficients > 0) & (coefficients < 1)).all()
    assert (np.argsort(errors, kind="stable") == np.argsort(coefficients, kind="stable")).all()
    assert coefficients.mean() == pytest.approx(worst_fifth(picture_errors(found, truths)).mean(), abs=0.03)


def test_a_picture_without_boxes_is_as_wrong_as_can_be() -> None:
    found, truths, _ = _world(3)
    assert fit_expectation(found, truths, {}, 2).errors([Boxes()], {}).tolist() == [1.0]


def test_too_few_pictures_or_none_that_is_wrong_are_refused() -> None:
    found, truths, _ = _world(4)
    with pytest.raises(ValueError, match="5 labelled pictures: 20 are needed"):
        fit_expectation(found[:5], truths[:5], {}, 2)
    with pytest.raises(ValueError, match="boxes that are right and boxes that are not"):
        fit_expectation(found, [Boxes() for _ in found], {}, 2)
