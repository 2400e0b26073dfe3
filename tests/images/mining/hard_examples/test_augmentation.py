"""aug_consistent_mining: the model says something else of a changed picture."""

from __future__ import annotations

import numpy as np
import pytest
from mining.hard_examples import Training

from tests.images.mining.hard_examples.examples import ask, boxes, codes, only

ALONE = "aug_consistent_mining"
CAT, DOG = boxes((10, 10, 50, 50, 0, 0.9)), boxes((10, 10, 50, 50, 1, 0.9))


def test_hx_05_what_flips_under_fliplr_has_reason_20_and_no_other() -> None:
    views = {"crop": [CAT, CAT], "fliplr": [CAT, DOG], "gaussianblur": [CAT, CAT]}
    answer = ask(only(ALONE), predictions=[CAT, CAT], views=views)
    assert codes(answer) == [[], [20]]
    assert answer.rows[1].coefficient == pytest.approx(1 / 3)
    assert [box.codes for box in answer.rows[1].boxes] == [(20,)]
    assert answer.rows[1].columns == {"disagreement.crop": 0, "disagreement.fliplr": 1, "disagreement.gaussianblur": 0}


def test_hx_05_the_same_of_a_classification() -> None:
    plain, turned = np.array([[0.9, 0.1]] * 2), np.array([[0.9, 0.1], [0.3, 0.7]])
    assert codes(ask(only(ALONE), probabilities=plain, views={"crop": plain, "fliplr": turned})) == [[], [20]]


def test_hx_05_without_a_model_it_is_skipped_with_the_reason() -> None:
    answer = ask(predictions=[CAT])
    assert answer.report["skipped"][ALONE] == "there are no predictions for changed pictures: it needs a model"
    assert ALONE not in answer.rows[0].strengths


def test_all_eleven_operations_have_their_reason() -> None:
    names = ("gaussianblur", "fliplr", "crop", "flipud", "scale", "translate", "shear", "superpixels", "sharpen", "add", "invert")
    config = "+".join(f"{name}:0.1" for name in names)
    answer = ask(only(ALONE, aug_op_config=config), predictions=[CAT], views={name: [DOG] for name in names})
    assert (codes(answer), answer.rows[0].coefficient) == ([list(range(19, 30))], pytest.approx(1.0))


def test_weights_count_and_a_weight_of_0_switches_an_operation_off() -> None:
    parameters = only(ALONE, aug_op_config="crop:0.3+fliplr:0.1+flipud:0")
    answer = ask(parameters, predictions=[CAT], views={"crop": [DOG], "fliplr": [CAT], "flipud": [DOG]})
    assert (codes(answer), answer.rows[0].coefficient) == ([[21]], pytest.approx(0.75))


def test_a_view_that_is_not_known_of_one_picture_does_not_count_as_agreement() -> None:
    answer = ask(only(ALONE), predictions=[CAT, CAT], views={"crop": [None, CAT], "fliplr": [DOG, None]})
    assert (codes(answer), [row.coefficient for row in answer.rows]) == ([[20], []], [1.0, 0.0])


def test_what_always_disagrees_says_nothing_once_the_training_pictures_are_known() -> None:
    """Most detectors never saw a picture upside down."""
    views = {"flipud": [DOG, DOG], "fliplr": [CAT, DOG]}
    training = Training(predictions=[CAT] * 30, views={"flipud": [DOG] * 30, "fliplr": [CAT] * 30})
    config = "fliplr:0.1+flipud:0.1"
    uncalibrated = ask(only(ALONE, aug_op_config=config), predictions=[CAT, CAT], views=views)
    calibrated = ask(only(ALONE, aug_op_config=config), predictions=[CAT, CAT], views=views, training=training)
    assert (codes(uncalibrated), codes(calibrated)) == ([[22], [20, 22]], [[], [20]])
    assert calibrated.report["algorithms"][ALONE]["calibrated"] == ["fliplr", "flipud"]


def test_boxes_below_the_lower_bound_do_not_count_on_either_side() -> None:
    faint = boxes((10, 10, 50, 50, 0, 0.9), (60, 60, 90, 90, 1, 0.2))
    assert codes(ask(only(ALONE), predictions=[faint, CAT], views={"fliplr": [CAT, faint]})) == [[], []]
