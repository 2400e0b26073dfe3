"""Label statistics, the distributions of YMIR's analysis, and comparison of versions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.histograms import chart, common_edges, counts, shift, summary
from analysis.statistics import Labels, compare, cooccurrence, distributions, label_statistics, overlap, totals

Box = tuple[float, float, float, float]


def labels(
    pictures: dict[str, list[tuple[str, Box]] | None], classes: list[str] | None = None, splits: str | list[str] = "train", **more: Any
) -> Labels:
    """A version of pictures of 200 x 100 pixels and 1 MiB; None: nobody has looked at it."""
    names = classes or sorted({name for boxes in pictures.values() for name, _ in boxes or ()})
    found = [(at, names.index(name), box) for at, boxes in enumerate(pictures.values()) for name, box in boxes or ()]
    count = len(pictures)
    given_: dict[str, Any] = {
        "class_names": names,
        "assets": list(pictures),
        "widths": np.full(count, 200),
        "heights": np.full(count, 100),
        "sizes": np.full(count, 1 << 20),
        "splits": [splits] * count if isinstance(splits, str) else splits,
        "labeled": np.array([boxes is not None for boxes in pictures.values()], np.bool_),
        "image": np.array([at for at, _, _ in found], np.int64),
        "label": np.array([label for _, label, _ in found], np.int64),
        "boxes": np.array([box for _, _, box in found], np.float64).reshape(-1, 4),
        "hard": np.zeros(count, np.bool_),
        "hard_coefficients": np.full(count, np.nan),
        "qualities": np.full(count, np.nan),
    }
    return Labels(**{**given_, **more})


SMALL = labels(
    {
        "a": [("cat", (0, 0, 20, 10)), ("cat", (0, 0, 40, 10)), ("dog", (5, 5, 100, 100))],
        "b": [("dog", (0, 0, 10, 10))],
        "c": [],
        "d": None,
    },
    splits=["train", "train", "val", ""],
    hard=np.array([True, False, False, True]),
    hard_coefficients=np.array([0.5, 0.9, np.nan, 1.0]),
    hard_reasons=[[1, 20], [], [], [20]],
)


def test_the_four_totals() -> None:
    assert totals(SMALL) == {"size_bytes": 4 << 20, "annotations": 4, "annotations_per_image": 1.0, "labeled_images": 3, "images": 4}


def test_classes_are_counted_by_annotation_picture_split_and_size() -> None:
    cat, dog = label_statistics(SMALL)["classes"]
    assert (cat["class"], cat["annotations"], cat["share"], cat["images"], cat["splits"]) == ("cat", 2, 0.5, 1, {"train": 2})
    assert (dog["annotations"], dog["images"]) == (2, 2)
    assert (cat["box_width"]["min"], cat["box_width"]["mean"], cat["box_width"]["max"]) == (20, 30, 40)
    assert dog["box_area_ratio"]["max"] == 0.5


def test_splits_and_hard_pictures_are_counted() -> None:
    found = label_statistics(SMALL)
    assert found["splits"] == [
        {"split": "train", "images": 2, "labeled_images": 2, "annotations": 4, "classes": 2},
        {"split": "val", "images": 1, "labeled_images": 1, "annotations": 0, "classes": 0},
        {"split": "", "images": 1, "labeled_images": 0, "annotations": 0, "classes": 0},
    ]
    hard = found["hard"]
    assert (hard["images"], hard["share"], hard["coefficient"]["mean"], hard["reasons"]) == (2, 0.5, 0.75, {"1": 1, "20": 2})


@given(st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=12))
@settings(max_examples=60, deadline=None)
def test_cooccurrence_is_the_count_of_pictures_that_have_both(pictures: list[list[int]]) -> None:
    names = [f"c{k}" for k in range(6)]
    version = labels({str(at): [(names[k], (0, 0, 1, 1)) for k in classes] for at, classes in enumerate(pictures)}, names)
    expected = [[sum(a in classes and b in classes for classes in pictures) for b in range(6)] for a in range(6)]
    assert cooccurrence(version).tolist() == expected


def test_the_six_distributions_have_the_bins_of_ymir() -> None:
    charts = {c["key"]: c for c in distributions({"V001": SMALL, "V002": labels({"x": [("ox", (0, 0, 20, 100))]})})}
    assert list(charts) == ["asset_bytes", "asset_hw_ratio", "asset_area", "asset_quality", "anno_area_ratio", "class_share"]
    assert charts["asset_bytes"]["series"][0]["values"] == [0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]
    assert charts["asset_hw_ratio"]["series"][0]["values"][5] == 4  # [0.5, 0.6)
    assert charts["asset_area"]["series"][0]["values"] == [4, 0, 0, 0, 0, 0, 0, 0]
    assert sum(charts["asset_quality"]["series"][0]["values"]) == 0
    assert charts["anno_area_ratio"]["series"][0]["values"] == [3, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert charts["anno_area_ratio"]["series"][1]["values"][1] == 1
    assert charts["class_share"]["labels"] == ["cat", "dog", "ox"]
    assert [s["values"] for s in charts["class_share"]["series"]] == [[2, 2, 0], [0, 0, 1]]


def test_what_changed_between_versions_is_counted_by_picture_and_class() -> None:
    before = labels(
        {"a": [("cat", (0, 0, 5, 5)), ("cat", (0, 0, 5, 5))], "b": [("dog", (1, 1, 2, 2))], "c": [], "gone": [("cat", (0, 0, 1, 1))]}
    )
    after = labels(
        {"c": [], "new": [("cow", (0, 0, 3, 3))], "b": [("dog", (1, 1, 2, 2.5))], "a": [("cat", (0, 0, 5, 5)), ("cow", (0, 0, 5, 5))]},
        splits=["val", "train", "train", "train"],
    )
    found = compare(before, after)
    assert found["images"] == {"before": 4, "after": 4, "added": 1, "removed": 1, "unchanged": 1, "relabeled": 2, "moved": 1}
    assert found["annotations"] == {"before": 4, "after": 4, "added": 3, "removed": 3}
    changes = [(c["class"], c["annotations"]["added"], c["annotations"]["removed"]) for c in found["classes"]]
    assert changes == [("cat", 0, 2), ("dog", 1, 1), ("cow", 2, 0)]
    assert found["classes"][2]["images"] == {"before": 0, "after": 2}


_PICTURES = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.tuples(st.sampled_from(["x", "y"]), st.tuples(*[st.integers(0, 2)] * 4)), max_size=4), max_size=6
)


@given(_PICTURES, _PICTURES)
@settings(max_examples=60, deadline=None)
def test_removed_and_added_are_the_difference_of_multisets(before: Any, after: Any) -> None:
    rows = [Counter((asset, *box) for asset, boxes in version.items() for box in boxes) for version in (before, after)]
    found = compare(labels(before, ["x", "y"]), labels(after, ["y", "x"]))
    assert found["annotations"]["removed"] == (rows[0] - rows[1]).total()
    assert found["annotations"]["added"] == (rows[1] - rows[0]).total()
    assert found["images"]["added"] == len(set(after) - set(before))
    assert sum(found["images"][key] for key in ("added", "unchanged", "relabeled")) == len(after)


def test_a_picture_in_two_parts_is_told() -> None:
    first = labels({"a": [], "b": [], "c": []}, ["x"], splits=["train", "train", "test"])
    second = labels({"c": [], "d": []}, ["x"], splits="train")
    assert overlap({"V001": first, "V002": second})["shared"] == [
        {"a": {"version": "V001", "split": "test"}, "b": {"version": "V002", "split": "train"}, "images": 1}
    ]


def test_an_empty_version_has_statistics_too() -> None:
    empty = labels({}, [])
    assert label_statistics(empty)["totals"]["images"] == 0
    assert compare(empty, SMALL)["images"]["added"] == 4
    assert len(distributions({"V001": empty})) == 6


def test_histograms_of_several_versions_share_their_edges_and_lose_nothing() -> None:
    drawn = chart("k", "K", {"a": [1.0, 2.0, np.nan], "b": [5.0]}, x="", y="")
    assert [sum(series["values"]) for series in drawn["series"]] == [2, 1]
    assert (drawn["edges"][0], drawn["edges"][-1]) == (1.0, 5.0)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30), st.booleans())
@settings(max_examples=100, deadline=None)
def test_every_known_value_is_in_a_bin(values: list[float], whole: bool) -> None:
    values = [float(int(v)) if whole and np.isfinite(v) else v for v in values if not np.isfinite(v) or abs(v) < 1e6]
    edges = common_edges([values], whole=whole)
    assert (np.diff(edges) > 0).all()
    assert len(edges) <= 43
    assert sum(counts(values, edges)) == sum(np.isfinite(values))


def test_a_long_tail_has_edges_of_equal_ratio() -> None:
    edges = common_edges([[1.0] * 50 + [1000.0]])
    assert np.ptp(edges[1:] / edges[:-1]) < 1e-9


def test_a_summary_of_nothing_has_no_values() -> None:
    assert summary([np.nan])["count"] == 0
    assert summary([1, 2, 3])["median"] == 2


@pytest.mark.parametrize(("other", "expected"), [([1, 2, 3], 0.0), ([7, 8], 1.0), ([np.nan], None)])
def test_shift_is_the_largest_distance_of_cumulative_shares(other: list[float], expected: float | None) -> None:
    assert shift([1, 2, 3], other) == expected
