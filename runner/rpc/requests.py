"""Bytes of a request to the arguments of a verb: everything that a stranger may have written is checked here, before anything happens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from pydantic import ValidationError

from contracts.connection import scheme_of
from contracts.errors import RequestError
from contracts.image import Kind
from contracts.job import JobSpec, JobState
from contracts.rpc.documents import Field, fields_of, to_document
from runner.rpc.doors import Caller

M = TypeVar("M", bound=Message)
_WORDS: Mapping[str, tuple[str, ...]] = {"states": tuple(map(str, JobState)), "kinds": tuple(map(str, Kind))}


def parse(request_type: type[M], data: bytes) -> M:
    """The message. Raises ``RequestError`` for bytes that are none, and for one with fields that this version does not know."""
    name = request_type.DESCRIPTOR.name
    try:
        request: M = request_type.FromString(data)
    except DecodeError as error:
        raise RequestError(f"the request is not a {name}: {error}", hint="contracts/rpc/sluice.proto describes it.") from error
    unknown = _unknown_field(request)
    if unknown:
        hint = "The client is of another version than the service; ask for less, or update the service."
        raise RequestError(f"the {name} has a field that this service does not know: {unknown}", hint=hint, field=unknown)
    return request


def arguments(request: Message, caller: Caller) -> dict[str, Any]:
    """What the verb is called with: set fields alone, so that the others have the verb's defaults. Raises ``RequestError``."""
    document = _read(request)
    for field in fields_of(request.DESCRIPTOR):
        if field.name in document or _is_spec(field):
            document[field.name] = _checked(field, document.get(field.name, {}), caller)
    if "user" in request.DESCRIPTOR.fields_by_name:
        document["user"] = caller.acting(document.get("user"))
    return document


def _read(request: Message) -> dict[str, Any]:
    try:
        return dict(to_document(request, only_set=True))
    except (ValueError, RecursionError) as error:
        name = request.DESCRIPTOR.name
        raise RequestError(f"a value in the {name} is not JSON: {error}", hint="The text of a Json message is one JSON value.") from error


def _checked(field: Field, value: Any, caller: Caller) -> Any:
    if field.or_address and scheme_of(value):
        return value
    if field.host_path:
        return caller.check_path(value, field.name)
    if _is_spec(field):
        return read_spec(value)
    if field.name in _WORDS:
        _check_words(field.name, value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_number(field, value)
    return value


def _is_spec(field: Field) -> bool:
    """A spec that is missing is read as an empty one: the error says what it must have."""
    return field.inner is not None and field.inner.name == "JobSpec"


def read_spec(document: Mapping[str, Any]) -> JobSpec:
    """The request for a job. Raises ``RequestError`` with every field that is wrong."""
    if not isinstance(document.get("parameters", {}), dict):
        raise RequestError("spec.parameters is not an object", hint='Write {"name": value}.', field="spec.parameters")
    try:
        return JobSpec.model_validate(document)
    except ValidationError as error:
        wrong = {".".join(map(str, ("spec", *found["loc"]))): found["msg"].removeprefix("Value error, ") for found in error.errors()}
        place, message = next(iter(wrong.items()))
        raise RequestError(
            f"{place}: {message}", hint="contracts/rpc/sluice.proto describes a JobSpec.", field=place, errors=wrong
        ) from error


def _check_words(name: str, values: list[str]) -> None:
    for value in values:
        if value not in _WORDS[name]:
            raise RequestError(f"{name}: there is no {value!r}", hint=f"Known: {', '.join(_WORDS[name])}.", field=name)


def _check_number(field: Field, value: float) -> None:
    least = -math.inf if field.least is None else field.least
    most = math.inf if field.most is None else field.most
    if not least <= value <= most:
        span = f"at least {least}" if most == math.inf else f"{least} to {most}"
        raise RequestError(f"{field.name} is {value}, not {span}", hint="Correct it.", field=field.name)


def _unknown_field(message: Message, place: str = "") -> str:
    """Where the first unknown field is: a name and number like ``spec.99``; '' when there is none."""
    for unknown in UnknownFieldSet(message):
        return f"{place}{unknown.field_number}"
    for field, value in message.ListFields():
        if field.message_type:
            for item in value if field.is_repeated else (value,):
                if found := _unknown_field(item, f"{place}{field.name}."):
                    return found
    return ""
