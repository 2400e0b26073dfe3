"""Free-form values come back as they went in."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import RequestError
from contracts.image import Kind
from registry.free_json import decode, encode

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.dates() | st.datetimes()
keys = st.text() | st.integers() | st.booleans() | st.none()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=12)


@given(values)
def test_every_value_that_yaml_can_hold_comes_back(value: object) -> None:
    stored = json.dumps(encode(value), allow_nan=False)
    assert decode(json.loads(stored)) == value


@pytest.mark.parametrize("value", [{"$date": "2020-01-01"}, {"$map": []}, {"$x": 1}, {"$float": "nan", "a": 1}, {"a": {"$bytes": "!"}}])
def test_data_that_looks_like_the_marks_comes_back(value: object) -> None:
    assert decode(json.loads(json.dumps(encode(value)))) == value


def test_not_a_number_stays_not_a_number() -> None:
    assert math.isnan(decode(encode(math.nan)))


def test_types_are_kept_apart() -> None:
    value = [0, 0.0, False, "", None, 1, True, date(2020, 1, 1), datetime(2020, 1, 1, tzinfo=timezone.utc)]
    assert [type(item) for item in decode(encode(value))] == [type(item) for item in value]


def test_a_tuple_becomes_a_list_and_an_enum_its_value() -> None:
    assert encode({"kinds": (Kind.MINING, Kind.INFERENCE)}) == {"kinds": ["mining", "inference"]}


def test_what_cannot_be_kept_is_named() -> None:
    with pytest.raises(RequestError, match="type set cannot be stored"):
        encode({"a": {1, 2}})
