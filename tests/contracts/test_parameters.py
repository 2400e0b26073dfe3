"""Typed parameters: nothing is guessed, nothing that was given gets lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ParameterError
from contracts.image import Kind, ObjectType, Parameter, ParameterType, Template
from contracts.parameters import complete_parameters, merge_templates, parse_parameter


def template(kind: Kind = Kind.TRAINING, **defaults: Any) -> Template:
    types = {bool: "bool", int: "int", float: "float", str: "str", list: "list", type(None): "any"}
    parameters = (Parameter(name, ParameterType(types[type(value)]), value) for name, value in defaults.items())
    return Template(kind, ObjectType.DETECTION, tuple(parameters))


EVERY_TYPE = template(epochs=10, lr=0.1, pin=True, model="yolov5s", sizes=[1], extra=None, gpu_id="0")


def test_without_values_every_parameter_has_its_default_and_reserved_ones_are_left_out() -> None:
    completed = complete_parameters(EVERY_TYPE, {}, {"gpu_id"})
    assert completed == {"epochs": 10, "lr": 0.1, "pin": True, "model": "yolov5s", "sizes": [1], "extra": None}


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("lr", 0.0), ("pin", False), ("model", ""), ("sizes", []), ("extra", 0)])
def test_zero_false_and_empty_are_kept(name: str, value: Any) -> None:
    assert complete_parameters(EVERY_TYPE, {name: value})[name] is value or complete_parameters(EVERY_TYPE, {name: value})[name] == value


def test_an_int_for_a_float_becomes_a_float() -> None:
    assert repr(complete_parameters(EVERY_TYPE, {"lr": 1})["lr"]) == "1.0"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", True),
        ("epochs", 1.0),
        ("epochs", "10"),
        ("epochs", None),
        ("lr", False),
        ("lr", "0.1"),
        ("lr", 10**400),
        ("pin", 1),
        ("pin", "true"),
        ("model", 5),
        ("sizes", "1,2"),
        ("sizes", [object()]),
        ("extra", object()),
        ("extra", {1: 2}),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ParameterError) as raised:
        complete_parameters(EVERY_TYPE, {name: value})
    assert name in raised.value.message
    assert raised.value.hint


def test_an_unknown_parameter_is_refused_with_close_matches_and_the_known_ones() -> None:
    with pytest.raises(ParameterError, match=r"unknown parameter 'epoch'") as raised:
        complete_parameters(EVERY_TYPE, {"epoch": 3})
    assert "Did you mean epochs?" in raised.value.hint
    assert raised.value.fields["known"] == ["epochs", "lr", "pin", "model", "sizes", "extra", "gpu_id"]


def test_a_reserved_parameter_is_refused_even_when_the_template_has_it() -> None:
    with pytest.raises(ParameterError, match="set by the runner"):
        complete_parameters(EVERY_TYPE, {"gpu_id": "1"}, {"gpu_id"})


def test_a_platform_parameter_may_be_given_though_the_template_lacks_it() -> None:
    also = (Parameter("shm_size", ParameterType.STR, ""),)
    assert complete_parameters(EVERY_TYPE, {"shm_size": "1G"}, (), also)["shm_size"] == "1G"
    assert "shm_size" not in complete_parameters(EVERY_TYPE, {}, (), also)


def test_mining_and_inference_merge_to_the_inference_template_overlaid_by_mining() -> None:
    infer = template(Kind.INFERENCE, conf=0.5, size=320)
    mining = template(Kind.MINING, size=640, algorithm="aldd")
    merged = merge_templates(infer, mining)
    assert merged.kind is Kind.MINING_INFERENCE
    assert list(merged.defaults().items()) == [("conf", 0.5), ("size", 640), ("algorithm", "aldd")]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("epochs", "12", 12),
        ("epochs", " -3 ", -3),
        ("lr", "1", 1.0),
        ("lr", "1e-3", 0.001),
        ("pin", "False", False),
        ("pin", "1", True),
        ("pin", "no", False),
        ("model", "", ""),
        ("model", "12", "12"),
        ("model", "a=b", "a=b"),
        ("sizes", "[1, 2]", [1, 2]),
        ("sizes", "1,2.5,x", [1, 2.5, "x"]),
        ("sizes", "", []),
        ("sizes", "7", [7]),
        ("extra", "3", 3),
        ("extra", "1e-3", 0.001),
        ("extra", "null", None),
        ("extra", "{a: [1]}", {"a": [1]}),
        ("extra", "some words", "some words"),
    ],
)
def test_a_text_of_the_command_line_becomes_the_parameters_type(name: str, text: str, value: Any) -> None:
    parameter = EVERY_TYPE.find(name)
    assert parameter is not None
    assert repr(parse_parameter(parameter, text)) == repr(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("epochs", "1.5"),
        ("epochs", "ten"),
        ("epochs", "9" * 5000),
        ("lr", "fast"),
        ("lr", "nan"),
        ("pin", "maybe"),
        ("sizes", "[1"),
        ("sizes", "[" * 5000),
        ("extra", "&a [*a]"),
        ("extra", "!!python/object/apply:os.system [true]"),
        ("extra", "2020-99-99"),
        ("model", "x" * 100_000),
    ],
)
def test_a_text_that_is_not_of_the_type_is_refused_by_name(name: str, text: str) -> None:
    parameter = EVERY_TYPE.find(name)
    assert parameter is not None
    with pytest.raises(ParameterError) as raised:
        parse_parameter(parameter, text)
    assert name in raised.value.message


@given(st.text(max_size=60), st.sampled_from([p.name for p in EVERY_TYPE.parameters]))
def test_any_text_is_either_a_value_the_template_accepts_or_a_parameter_error(text: str, name: str) -> None:
    parameter = EVERY_TYPE.find(name)
    assert parameter is not None
    try:
        value = parse_parameter(parameter, text)
    except ParameterError:
        return
    assert name in complete_parameters(EVERY_TYPE, {name: value})
