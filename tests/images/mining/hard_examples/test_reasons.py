"""The reasons 0 to 30 in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mining.hard_examples import REASONS, Parameters
from mining.hard_examples.reasons import ALGORITHMS, join_codes, split_codes, texts


def test_hx_12_there_are_31_reasons_each_with_a_text_a_suggestion_and_its_algorithm() -> None:
    assert list(REASONS) == list(range(31))
    assert all(reason.meaning and reason.suggestion and reason.code == code for code, reason in REASONS.items())
    assert len({reason.meaning for reason in REASONS.values()}) == 31
    assert {reason.algorithm for reason in REASONS.values()} == set(ALGORITHMS) == set(Parameters().algorithm_weights)


def test_hx_12_the_codes_mean_what_the_public_list_says() -> None:
    said = {5: "image_resolution", 7: "image_brightness", 10: "ambiguity", 11: "bbox_num", 18: "bbox_iou", 19: "gaussianblur", 20: "fliplr"}
    said |= {21: "crop", 22: "flipud", 23: "scale", 24: "translate", 25: "shear", 26: "superpixels", 27: "sharpen", 28: "add", 29: "invert"}
    assert {code: REASONS[code].subject for code in said} == said
    assert [REASONS[code].algorithm for code in (0, 1, 2, 3, 4, 30)] == [
        "predict_score_mining", "predict_score_mining", "clustering_mining", "image_similarity_mining", "sequential_mining",
        "anomaly_detection_mining",
    ]  # fmt: skip


@given(st.lists(st.integers(0, 30), unique=True))
def test_hx_12_text_to_list_and_back_keeps_the_order(codes: list[int]) -> None:
    assert split_codes(join_codes(codes)) == codes


def test_hx_12_the_documents_examples() -> None:
    assert (split_codes("0"), split_codes("1-20-2-19-21-3")) == ([0], [1, 20, 2, 19, 21, 3])
    assert texts([0, 20]) == [
        "nothing was found in the picture",
        "the prediction changes when the picture is mirrored left to right (fliplr)",
    ]


@pytest.mark.parametrize("text", ["31", "1-", "-1", "a", "1--2", "1 2", "²"])
def test_hx_12_what_is_no_reason_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a reason of a hard example"):
        split_codes(text)
