"""feature_distribution_mining: far from the training data in brightness, number of boxes, ..."""

from __future__ import annotations

import numpy as np
import pytest
from mining.hard_examples import Training
from mining.hard_examples.reasons import BOX_FEATURES, FEATURE_CODES, FEATURES
from mining.hard_examples.spread import kolmogorov_smirnov, robust_spread, stability_index
from PIL import Image

from analysis.features import FEATURES as MEASURED
from analysis.features import measure
from tests.images.mining.hard_examples.examples import ask, codes, only, scored

ALONE = "feature_distribution_mining"


def _features(count: int, seed: int = 0, **fixed: float) -> np.ndarray:
    """Of ordinary pictures, with some features set."""
    table = np.random.default_rng(seed).normal(100, 5, (count, len(FEATURES)))
    for key, value in fixed.items():
        table[:, FEATURES.index(key)] = value
    return table


def _grey(level: int) -> np.ndarray:
    measured = measure(Image.new("RGB", (64, 48), (level,) * 3)).picture
    return np.array([measured[key] for key in FEATURES])


def test_hx_06_a_bright_picture_among_uniform_grey_ones_has_reason_7() -> None:
    training = Training(features=np.array([_grey(level) for level in [99, 100, 101] * 10]))
    answer = ask(only(ALONE), features=np.array([_grey(100), _grey(220)]), training=training)
    assert codes(answer) == [[], [7]]
    assert any("image_resolution hardly differs" in warning for warning in answer.report["warnings"])


def test_hx_06_weight_0_disables_a_feature() -> None:
    training = Training(features=_features(40))
    odd = _features(1, image_brightness=200, image_saturation=200)
    chosen = only(ALONE, feature_op_config="image_brightness:0+image_saturation:0.5")
    answer = ask(chosen, features=odd, training=training)
    assert codes(answer) == [[8]]
    assert answer.rows[0].columns.keys() == {"z.image_saturation"}


@pytest.mark.parametrize("key", FEATURES)
def test_each_feature_has_its_reason_and_its_share_of_the_weights(key: str) -> None:
    answer = ask(only(ALONE), features=_features(2, 1, **{key: 300.0}), training=Training(features=_features(60)))
    assert codes(answer) == [[FEATURE_CODES[key]]] * 2
    weights = only(ALONE).feature_weights
    assert answer.rows[0].coefficient == pytest.approx(weights[key] / sum(weights.values()))


def test_df_03_keys_and_reasons_are_those_of_the_features_that_reports_measure() -> None:
    assert {feature.key: feature.reason for feature in MEASURED} == FEATURE_CODES
    assert tuple(feature.key for feature in MEASURED if feature.of == "box") == BOX_FEATURES


def test_a_box_is_compared_with_the_boxes_of_the_training_data() -> None:
    usual = [np.random.default_rng(seed).normal(50, 2, (4, 6)) for seed in range(20)]
    own = usual[0].copy()
    own[2, BOX_FEATURES.index("bbox_bright")] = 90
    training = Training(features=_features(20), box_features=usual)
    (row,) = ask(only(ALONE), features=_features(1), box_features=[own], predictions=[scored(0.9, 0.9, 0.9, 0.9)], training=training).rows
    assert [box.codes for box in row.boxes] == [(), (), (16,), ()]


def test_what_is_not_known_is_no_reason_and_a_picture_of_which_nothing_is_known_is_not_judged() -> None:
    table = _features(3, image_brightness=np.nan)
    table[1] = np.nan
    table[2, FEATURES.index("bbox_num")] = 300
    answer = ask(only(ALONE), features=table, training=Training(features=_features(40)))
    assert codes(answer) == [[], [], [11]]
    assert np.isnan(answer.rows[1].strengths[ALONE])


@pytest.mark.parametrize(
    ("training", "problem"),
    [(None, "no features of the training pictures"), (Training(features=_features(19)), "known of 20 training pictures")],
)
def test_it_is_skipped_without_enough_training_data(training: Training | None, problem: str) -> None:
    answer = ask(only(ALONE), features=_features(2), training=training)
    assert problem in answer.report["skipped"][ALONE]


def test_a_batch_that_shifted_within_the_usual_range_shows_in_the_drift_and_in_no_picture() -> None:
    training = Training(features=_features(400))
    shifted = _features(200, 2)
    shifted[:, FEATURES.index("image_brightness")] += 8
    answer = ask(only(ALONE), features=shifted, training=training)
    drift = answer.report["algorithms"][ALONE]["drift"]
    assert [key for key, found in drift.items() if found["shifted"]] == ["image_brightness"]
    assert sum(7 in row.codes for row in answer.rows) < 20


def test_spread_of_values_that_are_mostly_equal_is_their_standard_deviation_not_0() -> None:
    counts = np.array([1.0] * 80 + [2.0] * 20)
    median, spread, flat = robust_spread(counts, 0.5)
    assert (median, spread, flat) == (1.0, 0.5, True)  # two boxes: z = 2, no reason
    assert robust_spread(np.full(30, 7.0), 0.01)[1:] == (0.01, True)


def test_ks_and_psi_of_known_samples() -> None:
    same = np.arange(100.0)
    assert kolmogorov_smirnov(same, same) == (0.0, False)
    assert kolmogorov_smirnov(same, same + 1000) == (1.0, True)
    assert stability_index(same, same) == pytest.approx(0.0, abs=1e-9)
    constant = np.full(100, 5.0)
    assert stability_index(constant, constant) == pytest.approx(0.0, abs=1e-9)
    assert min(stability_index(constant, constant + step) for step in (1, -1)) > 1
