"""Messages and documents: what goes in comes out, whatever it is, and what does not fit is named."""

from __future__ import annotations

import json
import logging
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.rpc import sluice_pb2 as pb
from contracts.rpc.documents import to_document, to_message

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
EVIDENCE = {
    "message": "killed",
    "exit_code": None,
    "out_of_memory": True,
    "image_code": 300103,
    "image_message": "",
    "log_tail": ["a", "b"],
    "hint": "",
    "fields": {"z": 1.0, "a": [None, 2]},
}


def _round_trip(document: Any, message_type: Any) -> Any:
    """Over the wire, and strictly."""
    data = to_message(document, message_type, strict=True).SerializeToString()
    return to_document(message_type.FromString(data))


def test_none_zero_and_empty_are_told_apart() -> None:
    assert _round_trip(EVIDENCE, pb.Evidence) == EVIDENCE
    zero = {**EVIDENCE, "exit_code": 0, "image_code": 0, "fields": {}, "log_tail": []}
    assert _round_trip(zero, pb.Evidence) == zero


@given(JSON_VALUES.filter(lambda value: value is not None))
def test_a_free_form_value_keeps_its_types_and_the_order_of_its_keys(value: Any) -> None:
    came = _round_trip({"values": value}["values"], pb.Parameters)
    assert json.dumps(came) == json.dumps(value)


def test_a_number_that_json_does_not_know_and_one_beyond_64_bits_survive_in_free_form_values() -> None:
    came = _round_trip({"nan": math.nan, "huge": 2**80, "inf": -math.inf}, pb.Parameters)
    assert math.isnan(came["nan"])
    assert (came["huge"], came["inf"]) == (2**80, -math.inf)


@given(st.dictionaries(st.text(), st.integers(-(2**63), 2**63 - 1)))
def test_an_object_with_names_of_all_kinds_keeps_its_order(counts: dict[str, int]) -> None:
    dataset = {**to_document(pb.Dataset()), "splits": counts, "report": None}
    assert list(_round_trip(dataset, pb.Dataset)["splits"].items()) == list(counts.items())


def test_a_field_that_is_left_out_has_no_key_and_an_empty_one_has() -> None:
    assert "report" not in to_document(pb.Dataset(name="pets"))
    assert to_document(to_message({"name": "pets", "report": {}}, pb.Dataset))["report"] == {}


def test_an_inlined_message_stands_beside_the_other_keys() -> None:
    document = {**to_document(to_message({"name": "probe", "labels": {"b": "1", "a": "2"}}, pb.Image)), "changed_from": None}
    assert _round_trip(document, pb.RegisteredImage) == document


def test_a_list_is_a_document_of_its_own() -> None:
    silent = {"coefficient": None, "hard": None, "reasons": [], "texts": []}
    said = {"coefficient": 0.5, "hard": True, "reasons": [1, 20], "texts": ["the confidence is low"]}
    rows = [{"rank": 1, "asset": "ab", "name": "x", "score": None, **silent}, {"rank": 2, "asset": "cd", "name": "y", "score": 0.5, **said}]
    assert _round_trip(rows, pb.Ranking) == rows
    assert _round_trip([], pb.Ranking) == []


def test_a_text_that_is_not_unicode_arrives_readable() -> None:
    came = _round_trip({"removed": "a\udcffü"}, pb.RemovedImage)
    assert came == {"removed": "a\\udcffü"}


def test_a_request_leaves_out_what_is_not_set() -> None:
    request = to_message({"reference": "a", "wait": None}, pb.CancelJobRequest)
    assert to_document(request, only_set=True) == {"reference": "a"}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"kind": 3}, "spec.kind: 3"),
        ({"seed": 2**63}, "spec.seed: 9223372036854775808 is outside"),
        ({"gpu_count": 1.5}, "spec.gpu_count: 1.5"),
        ({"gpu": {"memory_bytes": "8"}}, "spec.gpu.memory_bytes: '8'"),
        ({"class_names": [1]}, "spec.class_names"),
        ({"gpu": 7}, "spec.gpu"),
    ],
)
def test_a_value_that_a_field_cannot_hold_is_named(document: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        to_message({"spec": document}, pb.SubmitRequest)


def test_drift_between_a_document_and_its_message_is_an_error_where_it_is_looked_for(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match=r"Evidence .*\['colour'\]"):
        to_message({**EVIDENCE, "colour": 1}, pb.Evidence, strict=True)
    with pytest.raises(ValueError, match=r"fields without a key \['hint'\]"):
        to_message({key: value for key, value in EVIDENCE.items() if key != "hint"}, pb.Evidence, strict=True)
    with caplog.at_level(logging.WARNING):
        assert to_document(to_message({**EVIDENCE, "colour": 1}, pb.Evidence)) == EVIDENCE
    assert "no field for colour" in caplog.text
