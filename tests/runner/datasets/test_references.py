"""References to datasets and the choice of validation data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import DatasetError
from runner.job_data import choose_validation
from runner.references import DatasetReference, parse_dataset_reference


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("cells", DatasetReference("cells")),
        ("cells@V002", DatasetReference("cells", 2)),
        ("cells@v12:val", DatasetReference("cells", 12, "val")),
        ("a.b-c_9:train", DatasetReference("a.b-c_9", None, "train")),
    ],
)
def test_a_reference_names_dataset_version_and_split(text: str, reference: DatasetReference) -> None:
    assert parse_dataset_reference(text) == reference


@pytest.mark.parametrize(
    "text", ["", "@V001", "cells@", "cells@V0", "cells@latest", "cells:", "cells:a b", "-x", "a/b", "a b", "a" * 65, "../x"]
)
def test_what_is_no_reference_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(DatasetError, match="name@V002"):
        parse_dataset_reference(text)


@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True), st.none() | st.integers(1, 999_999), st.sampled_from(["", "train"])
)
def test_a_reference_is_read_as_it_was_written(name: str, number: int | None, split: str) -> None:
    reference = DatasetReference(name, number, split)
    assert parse_dataset_reference(str(reference)) == reference


def _ids(count: int) -> list[str]:
    return [f"{number:040x}" for number in range(count)]


def _chosen(count: int, fraction: float, seed: int) -> set[int]:
    return set(np.flatnonzero(choose_validation(_ids(count), fraction, seed)).tolist())


@given(st.integers(2, 60), st.floats(0.01, 0.99), st.integers())
def test_neither_side_of_the_division_is_empty(count: int, fraction: float, seed: int) -> None:
    assert 0 < len(_chosen(count, fraction, seed)) < count


def test_a_picture_stays_where_it_is_when_others_are_added() -> None:
    few, many = _chosen(100, 0.2, 7), _chosen(200, 0.2, 7)
    assert few == {place for place in many if place < 100}
    assert 25 <= len(many) <= 55


def test_the_division_is_that_of_earlier_releases() -> None:
    assert _chosen(20, 0.2, 7) == {3, 6, 7, 15, 18}


def test_another_seed_divides_otherwise() -> None:
    assert _chosen(100, 0.2, 1) != _chosen(100, 0.2, 2)


@pytest.mark.parametrize(("count", "fraction"), [(1, 0.5), (0, 0.5), (10, 0.0), (10, 1.0)])
def test_what_cannot_be_divided_is_refused(count: int, fraction: float) -> None:
    with pytest.raises(DatasetError):
        choose_validation(_ids(count), fraction, 0)
