"""sequential_mining: consecutive pictures that look the same and are predicted differently."""

from __future__ import annotations

import numpy as np
import pytest
from mining.boxes import Boxes
from mining.hard_examples.sequential import frame_of

from tests.images.mining.hard_examples.examples import ask, boxes, codes, only

ALONE = "sequential_mining"
CAT, DOG = [0.9, 0.1], [0.1, 0.9]
ALIKE = np.zeros(3, np.uint64)
BOX = (10, 10, 50, 50, 0, 0.9)


def test_hx_08_cat_cat_dog_gives_reason_4_to_the_second_and_the_third() -> None:
    answer = ask(only(ALONE), ids=["f1.jpg", "f2.jpg", "f3.jpg"], probabilities=np.array([CAT, CAT, DOG]), hashes=ALIKE)
    assert codes(answer) == [[], [4], [4]]


def test_hx_08_the_same_of_boxes_and_embeddings_with_frames_in_natural_order() -> None:
    """By text, f10 would come before f9."""
    cat, dog = boxes(BOX), boxes((10, 10, 50, 50, 1, 0.9))
    answer = ask(only(ALONE), ids=["f10.jpg", "f8.jpg", "f9.jpg"], predictions=[dog, cat, cat], embeddings=np.ones((3, 4)))
    assert codes(answer) == [[4], [], [4]]


def test_neighbours_that_do_not_look_alike_say_nothing() -> None:
    cut = np.array([0, 2**64 - 1, 0], np.uint64)
    answer = ask(only(ALONE), ids=["f1", "f2", "f3"], probabilities=np.array([CAT, DOG, CAT]), hashes=cut)
    assert codes(answer) == [[], [], []]
    assert np.isnan(answer.rows[1].strengths[ALONE])


def test_frames_of_different_videos_are_not_compared() -> None:
    answer = ask(only(ALONE), ids=["a_1", "a_2", "b_3"], probabilities=np.array([CAT, CAT, DOG]), hashes=ALIKE)
    assert codes(answer) == [[], [], []]


def test_an_order_that_is_given_counts_more_than_the_names() -> None:
    order = [("v", 2.0), ("v", 1.0), ("w", 3.0)]
    answer = ask(only(ALONE), ids=["f1", "f2", "f3"], probabilities=np.array([CAT, DOG, DOG]), hashes=ALIKE, order=order)
    assert codes(answer) == [[4], [4], []]


def test_a_box_that_is_there_before_and_after_is_named_as_missed() -> None:
    second = (60, 60, 90, 90, 1, 0.8)
    answer = ask(only(ALONE), ids=["f1", "f2", "f3"], predictions=[boxes(BOX, second), boxes(BOX), boxes(BOX, second)], hashes=ALIKE)
    missed = answer.rows[1].details[ALONE]["missed"]
    assert missed == [{"box": [60, 60, 30, 30], "class_name": "dog", "between": ["f1", "f3"]}]
    assert not answer.rows[0].details
    assert answer.report["algorithms"][ALONE]["missed_boxes_in"] == 1


@pytest.mark.parametrize(
    ("ids", "parts", "problem"),
    [
        (["cat", "dog"], {"hashes": ALIKE[:2]}, "the pictures are no sequence"),
        (["f1", "f2"], {}, "neither an embedding nor a hash"),
    ],
)
def test_it_is_skipped_without_an_order_or_looks(ids: list[str], parts: dict[str, np.ndarray], problem: str) -> None:
    answer = ask(only(ALONE), ids=ids, predictions=[Boxes(), boxes(BOX)], **parts)
    assert problem in answer.report["skipped"][ALONE]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dayride_type1_001.mp4#t=1054.jpg", ("dayride_type1_001.mp4#t=*", 1054)),
        ("BloodImage_00037.jpg", ("BloodImage_*", 37)),
        ("12_left.png", ("*_left", 12)),
        ("cat.jpg", None),
        ("", None),
    ],
)
def test_video_and_frame_of_names(name: str, expected: tuple[str, float] | None) -> None:
    assert frame_of(name) == expected


def test_embeddings_that_call_everything_alike_are_no_guard_and_hashes_count_more() -> None:
    """As those of many networks: all numbers above 0, so that no two differ by much. On blood cells, 303 of 304 pictures had reason 4 by them."""
    generator = np.random.default_rng(0)
    predictions = [boxes(BOX) if place % 2 else Boxes() for place in range(60)]
    parts = {"ids": [f"f{place:02}" for place in range(60)], "predictions": predictions, "embeddings": generator.uniform(0.9, 1, (60, 16))}
    assert "these embeddings cannot say whether neighbours look the same" in ask(only(ALONE), **parts).report["skipped"][ALONE]
    hashes = generator.integers(0, 2**63, 60, np.uint64)
    assert not any(codes(ask(only(ALONE), **parts, hashes=hashes)))
    telling = {**parts, "embeddings": np.repeat(np.eye(20), 3, axis=0)}
    assert codes(ask(only(ALONE), **telling))[:3] == [[4], [4], [4]]
