"""Split: exact shares, seeded, stratified, near-duplicates together, tests untouched."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given as given_by
from hypothesis import settings
from hypothesis import strategies as st

from contracts.errors import RequestError
from runner.publishing import changes_since
from runner.tables import Tables
from tests.runner.operations.conftest import column, contents, entry, given, run, tables


def _plain(count: int, **marks: Any) -> Tables:
    return tables(*(entry(number, "rare" if number % 5 == 0 else "common", **marks) for number in range(count)))


def _divided(where: Tables, ratios: dict[str, float], **asked: Any) -> dict[int, str]:
    hashes = asked.pop("hashes", None)
    return column(run(given(where, hashes=hashes), "split", ratios=ratios, **asked).tables, "split")


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ({"train": 0.8, "val": 0.2}, {"train": 16, "val": 4}),
        ({"train": 1.0, "val": 0.0}, {"train": 20}),
        ({"train": 0.0, "val": 1.0}, {"val": 20}),
        ({"train": 0.5}, {"train": 10, "": 10}),
        ({"train": 0.7, "val": 0.15, "test": 0.15}, {"train": 14, "val": 3, "test": 3}),
        ({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, {"a": 7, "b": 7, "c": 6}),
    ],
)
def test_shares_are_exact(ratios: dict[str, float], expected: dict[str, int]) -> None:
    assert Counter(_divided(_plain(20), ratios).values()) == expected


@settings(max_examples=40, deadline=None)
@given_by(st.integers(1, 120), st.floats(0, 1), st.integers(0, 9))
def test_every_picture_is_in_one_split_and_each_class_has_its_share(count: int, ratio: float, seed: int) -> None:
    where = _plain(count)
    found = _divided(where, {"train": ratio, "val": 1 - ratio}, seed=seed)
    sizes = Counter(found.values())
    assert sizes["train"] == int(count * ratio + 0.5 + 1e-9)
    assert sizes["train"] + sizes["val"] == count
    rare = [number for number, classes in contents(where).items() if classes == ["rare"]]
    assert abs(sum(found[number] == "train" for number in rare) - len(rare) * ratio) <= 1.5
    assert _divided(where, {"train": ratio, "val": 1 - ratio}, seed=seed) == found


def test_another_seed_divides_otherwise() -> None:
    assert _divided(_plain(50), {"train": 0.5}, seed=1) != _divided(_plain(50), {"train": 0.5}, seed=2)


def test_tests_stay_where_they_are_unless_they_may_move() -> None:
    where = tables(*(entry(number, split="test" if number < 5 else "train") for number in range(20)))
    found = _divided(where, {"train": 0.8, "val": 0.2})
    assert [number for number, split in found.items() if split == "test"] == list(range(5)) or sorted(
        number for number, split in found.items() if split == "test"
    ) == list(range(5))
    assert Counter(found.values()) == {"test": 5, "train": 12, "val": 3}
    assert "test" not in _divided(where, {"train": 0.8, "val": 0.2}, keep=[]).values()


def _twins(wanted: Tables) -> Any:
    """Pictures 0 to 9 are of five pairs, 10 to 14 one family, all others alone."""
    numbers = [int(name.partition(".")[0]) for name in wanted.images["name"].to_pylist()]
    family = [n // 2 if n < 10 else (100 if n < 15 else 1000 + n) for n in numbers]
    return np.array([(f * 0x9E3779B97F4A7C15) % 2**64 for f in family], np.uint64)


@pytest.mark.parametrize("seed", range(5))
def test_twins_never_straddle(seed: int) -> None:
    found = _divided(_plain(60), {"train": 0.7, "val": 0.3}, seed=seed, group_distance=3, hashes=_twins)
    families = [{found[2 * pair], found[2 * pair + 1]} for pair in range(5)] + [{found[number] for number in range(10, 15)}]
    assert all(len(family) == 1 for family in families)
    assert Counter(found.values()) == {"train": 42, "val": 18}


def test_a_twin_of_a_test_picture_goes_to_the_tests() -> None:
    where = tables(*(entry(number, split="test" if number in (0, 10) else "train") for number in range(60)))
    found = _divided(where, {"train": 0.5, "val": 0.5}, group_distance=3, hashes=_twins)
    assert {number for number, split in found.items() if split == "test"} == {0, 1, *range(10, 15)}


def test_only_those_that_moved_have_changed() -> None:
    where = _plain(20)
    once = run(given(where), "split", ratios={"train": 0.8, "val": 0.2})
    again = run(given(once.tables), "split", ratios={"train": 0.8, "val": 0.2})
    assert changes_since(where, once.tables, once.touched) == {"added": 0, "changed": 20, "deleted": 0}
    assert changes_since(once.tables, again.tables, again.touched) == {"added": 0, "changed": 0, "deleted": 0}


@pytest.mark.parametrize("ratios", [{}, {"train": 1.2}, {"train": -0.1}, {"train": 0.6, "val": 0.6}, {"Train!": 0.5}, {"train": "much"}])
def test_shares_that_are_none_are_refused(zoo: Tables, ratios: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="split"):
        run(given(zoo), "split", ratios=ratios)


def test_nothing_to_divide_is_refused() -> None:
    with pytest.raises(RequestError, match="every picture is in test"):
        _divided(tables(entry(1, split="test")), {"train": 1.0})
