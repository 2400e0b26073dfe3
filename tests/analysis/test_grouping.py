"""Automatic grouping (LB-08), RRD (DP-05) and SimDeduplication (DP-04)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.features import measure
from analysis.grouping import embeddings, group_pictures, keep_representative
from analysis.near_duplicates import distance_of, distances, keep_one_of_each
from tests.analysis.conftest import scene


def _thumbnails(colours: list[tuple[int, int, int]], seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(-20, 21, (len(colours), 64, 3))
    return (np.array(colours)[:, None] + noise).clip(0, 255).astype(np.uint8).reshape(len(colours), 192)


def test_three_visual_clusters_are_found_again() -> None:
    truth = np.repeat([0, 1, 2], [30, 20, 10])
    order = np.random.default_rng(1).permutation(60)
    colours = [[(200, 40, 40), (40, 200, 40), (40, 40, 200)][k] for k in truth[order]]
    found = group_pictures(embeddings(_thumbnails(colours)), 3, seed=4)
    assert found.tolist() == truth[order].tolist()  # also numbered by size


def test_the_same_seed_gives_the_same_groups() -> None:
    points = np.random.default_rng(2).random((300, 5))
    assert group_pictures(points, 20, seed=7).tolist() == group_pictures(points, 20, seed=7).tolist()


@pytest.mark.parametrize("aspect", ["clarity", "brightness", "colour"])
def test_pictures_are_grouped_by_what_was_chosen(aspect: str) -> None:
    """Thumbnails that tell nothing, and one feature that does."""
    thumbnails = np.random.default_rng(3).integers(0, 256, (40, 192), dtype=np.uint8)
    values = np.repeat([1.0, 200.0], 20)
    same = np.ones(40)
    features = {
        "ambiguity": values if aspect == "clarity" else same,
        "image_brightness": values if aspect == "brightness" else same,
        "image_saturation": values if aspect == "colour" else same,
        "image_colorfulness": values if aspect == "colour" else same,
    }
    found = group_pictures(embeddings(thumbnails, features, [aspect]), 2)
    assert len(set(found[:20])) == len(set(found[20:])) == 1
    assert found[0] != found[-1]


@pytest.mark.parametrize(("count", "reason"), [(201, "from 2 to 200"), (1, "from 2 to 200"), (11, "11 groups of 10 pictures")])
def test_impossible_numbers_of_groups_are_refused(count: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        group_pictures(np.random.default_rng(0).random((10, 3)), count)


def test_an_unknown_aspect_is_refused_and_the_known_are_named() -> None:
    with pytest.raises(ValueError, match="no aspect 'smell'; known: clarity, brightness, colour"):
        embeddings(np.zeros((2, 192), np.uint8), {}, ["smell"])


@given(st.integers(2, 40), st.integers(0, 30), st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_every_group_has_a_picture_even_of_equal_ones(count: int, more: int, kinds: int) -> None:
    points = np.repeat(np.random.default_rng(count).random((kinds, 4)), count + more, axis=0)[: count + more]
    assert set(group_pictures(points, count).tolist()) == set(range(count))


@given(st.integers(1, 60), st.floats(0.01, 1.0), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_the_ratio_is_kept_to_the_picture_and_the_choice_to_the_seed(count: int, ratio: float, seed: int) -> None:
    points = np.random.default_rng(seed).random((count, 3))
    kept = keep_representative(points, ratio, seed=seed)
    assert kept.sum() == int(count * ratio + 0.5)
    assert kept.tolist() == keep_representative(points, ratio, seed=seed).tolist()


def test_half_of_twenty_keeps_one_of_each_pair() -> None:
    places = np.random.default_rng(5).random((10, 4)) * 10
    points = np.concatenate([places, places + 0.001])
    kept = keep_representative(points, 0.5, n_clusters=1)
    assert kept.sum() == 10
    assert (kept[:10] ^ kept[10:]).all()


@pytest.mark.parametrize(
    ("options", "reason"), [({"sample_ratio": 0.0}, "above 0"), ({"sample_ratio": 1.1}, "at most 1"), ({"n_clusters": 9}, "for 8")]
)
def test_impossible_selections_are_refused(options: dict[str, float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        keep_representative(np.zeros((8, 2)), **options)


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.sampled_from([1.0, 0.95, 0.9, 0.7]))
@settings(max_examples=50, deadline=None)
def test_of_similar_pictures_one_stays_and_of_those_that_stay_none_are_similar(seed: int, count: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    hashes = random.choice(random.integers(0, 2**64, 6, dtype=np.uint64), count)
    for _ in range(6):
        hashes = hashes ^ (np.uint64(1) << random.integers(0, 64, count).astype(np.uint64))
    kept = keep_one_of_each(hashes, threshold, seed=seed)
    near = distances(hashes[:, None], hashes[None]) <= distance_of(threshold)
    assert near[np.ix_(kept, kept)].sum() == kept.sum()
    assert near[:, kept].any(axis=1).all()
    assert kept.tolist() == keep_one_of_each(hashes, threshold, seed=seed).tolist()


def test_the_preferred_copy_stays() -> None:
    hashes = np.array([measure(scene(s)).hash for s in (1, 2, 1, 1, 2)], np.uint64)
    assert keep_one_of_each(hashes).tolist() == [True, True, False, False, False]
    assert keep_one_of_each(hashes, preference=[1, 5, 9, 2, 6]).tolist() == [False, False, True, False, True]
