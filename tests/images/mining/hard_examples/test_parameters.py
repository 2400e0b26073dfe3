"""The 15 parameters, their ranges, and the strings of weights."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mining.hard_examples import ParameterError, Parameters
from mining.hard_examples.parameters import format_weights, parse_weights
from mining.hard_examples.reasons import ALGORITHMS, FEATURES, OPERATIONS

DOCUMENTED = {
    "source_service": "inference",
    "filter_func": "comprehensive_mining",
    "checkpoint_path": "/home/work/user-job-dir/data_filter/resnet_v1_50",
    "model_serving_url": None,
    "train_data_path": None,
    "comprehensive_algo_config": "clustering_mining:0.2020+aug_consistent_mining:0.4265+feature_distribution_mining:0.0451"
    "+sequential_mining:0.425+image_similarity_mining:0.0949+predict_score_mining:0.3900+anomaly_detection_mining:0.2020",
    "algo_hard_threshold": 0.1,
    "aug_op_config": "crop:0.1+fliplr:0.1+gaussianblur:0.1",
    "feature_op_config": "image_aspect_ratio:0.5+image_brightness:1.0+image_saturation:0.5+image_resolution:0.5+image_colorfulness:0.5"
    "+ambiguity:1.0+bbox_num:1.0+bbox_iou:1.0+bbox_std:0.5+bbox_bright:0.5+bbox_ambiguity:0.5+bbox_aspect_ratio:1.0"
    "+bbox_area_ratio:0.5+bbox_edge_value:0.5",
    "score_threshold_up": 0.6,
    "score_threshold_low": 0.3,
    "margin": 0.8,
    "similarity_sample_ratio": 1.0,
    "task_summary_file": None,
    "output_dataset_type": "manifest",
}
FRACTIONS = ("algo_hard_threshold", "score_threshold_up", "score_threshold_low", "margin", "similarity_sample_ratio", "empty_below")


def test_hx_02_the_15_parameters_have_the_documented_defaults() -> None:
    found = Parameters.parse({}).to_dict()
    assert {name: found[name] for name in DOCUMENTED} == DOCUMENTED
    assert len(DOCUMENTED) == 15


@pytest.mark.parametrize("name", FRACTIONS)
@pytest.mark.parametrize("value", [-0.1, 1.1, "1.1", "nan", "inf", "much", "", None, True, [0.5]])
def test_hx_02_a_fraction_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=f"^{name}: ") as caught:
        Parameters.parse({name: value})
    assert caught.value.parameter == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("aug_op_config", "rotate:0.1"),
        ("aug_op_config", "crop:-0.1"),
        ("feature_op_config", "image_contrast:1"),
        ("comprehensive_algo_config", "guessing:1"),
        ("output_dataset_type", "folder"),
        ("margin_rule", "below"),
        ("score_rule", "mean"),
        ("empty_policy", "maybe"),
        ("model_serving_url", "model"),
        ("train_data_path", "https://example.org/v001.manifest"),
        ("task_summary_file", "summary.log"),
        ("seed", -1),
        ("seed", "1.5"),
        ("intercept", "nan"),
    ],
)
def test_hx_02_another_value_that_cannot_be_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=f"^{name}: "):
        Parameters.parse({name: value})


def test_hx_02_the_lower_bound_may_not_lie_above_the_upper() -> None:
    with pytest.raises(ParameterError, match=r"^score_threshold_low: is 0.7, above score_threshold_up 0.6"):
        Parameters.parse({"score_threshold_low": "0.7"})


def test_numbers_of_a_configuration_may_be_text_and_nothing_may_be_said_in_words() -> None:
    said = {"algo_hard_threshold": " 0.25 ", "seed": "7", "model_serving_url": "None", "train_data_path": "", "gpu_id": "0"}
    found = Parameters.parse(said)
    assert (found.algo_hard_threshold, found.seed, found.model_serving_url, found.train_data_path) == (0.25, 7, None, None)


def test_hx_03_the_default_weights_are_seven_and_sum_to_1_7855() -> None:
    weights = Parameters().algorithm_weights
    assert set(weights) == set(ALGORITHMS)
    assert sum(weights.values()) == pytest.approx(1.7855, abs=1e-12)
    assert (set(Parameters().operation_weights), set(Parameters().feature_weights)) == ({"crop", "fliplr", "gaussianblur"}, set(FEATURES))


def test_hx_03_a_subset_parses() -> None:
    chosen = Parameters(comprehensive_algo_config="predict_score_mining:0.3900+anomaly_detection_mining:0.2020")
    assert chosen.algorithm_weights == {"predict_score_mining": 0.39, "anomaly_detection_mining": 0.202}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("crop:0.1+crop:0.2", "'crop' stands in it twice"),
        ("turn:0.1", "there is no 'turn'"),
        ("crop:-0.1", "not a number from 0 on"),
        ("crop:1e999", "not a number from 0 on"),
        ("crop:ten", "'ten' of 'crop' is not a number"),
        ("crop:1_0", "is not a number"),
        ("crop:", "is not a number"),
        ("crop", "not of the form key:weight"),
        ("crop:0.1+", "not of the form key:weight"),
        ("crop:0.1, fliplr:0.1", "is not a number"),
        ("", "not a text"),
    ],
)
def test_hx_03_what_is_not_of_the_grammar_is_refused_by_name(text: str, problem: str) -> None:
    with pytest.raises(ParameterError, match=r"^aug_op_config: ") as caught:
        Parameters(aug_op_config=text)
    assert problem in str(caught.value)


def test_hx_03_bbbox_is_bbox_and_may_not_come_as_both() -> None:
    assert Parameters(feature_op_config="bbbox_num:0.5").feature_weights == {"bbox_num": 0.5}
    with pytest.raises(ParameterError, match="'bbox_num' stands in it twice"):
        Parameters(feature_op_config="bbbox_num:0.5+bbox_num:1")


@given(st.dictionaries(st.sampled_from(OPERATIONS), st.floats(0, 99), min_size=1))
def test_weights_survive_being_written_and_read(weights: dict[str, float]) -> None:
    read = parse_weights("aug_op_config", format_weights(weights), OPERATIONS)
    assert list(read) == list(weights)
    assert read == pytest.approx(weights, abs=1e-4)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    refused = None
    try:
        read = parse_weights("aug_op_config", text, OPERATIONS)
    except ParameterError as error:
        refused = str(error)
    assert refused.startswith("aug_op_config: ") if refused else set(read) <= set(OPERATIONS)


@pytest.mark.parametrize("name", ["source_service", "filter_func", "checkpoint_path"])
def test_hx_19_constants_take_their_value_and_no_other(name: str) -> None:
    assert Parameters.parse({name: DOCUMENTED[name]}) == Parameters()
    with pytest.raises(ParameterError, match=f"^{name}: cannot be changed"):
        Parameters.parse({name: "another"})
