"""Messages as the JSON documents of ``--json`` and back, field by field as ``sluice.proto`` describes them: neither side lists the fields again.

Both ways keep everything: None, the order of keys, NaN, numbers of any size inside ``Json``. Only a text that is not Unicode (a file name of other
bytes) arrives with its odd bytes written as ``\\udcff``, as the command line prints it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from contracts.rpc import sluice_pb2 as pb

log = logging.getLogger(__name__)
M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Field:
    """What the descriptor says of one field; asking it each time would cost more than the conversion."""

    name: str
    shape: int
    repeated: bool
    presence: bool
    alternative: bool
    inner: Descriptor | None
    is_json: bool
    is_text: bool
    least: int | None
    most: int | None
    host_path: bool
    or_address: bool


@cache
def fields_of(descriptor: Descriptor) -> tuple[Field, ...]:
    """The fields of a message in the order in which they stand in ``sluice.proto``."""
    return tuple(_describe(field) for field in descriptor.fields)


def _describe(field: FieldDescriptor) -> Field:
    options = field.GetOptions()
    inner = field.message_type
    return Field(
        name=field.name,
        shape=options.Extensions[pb.shape],
        repeated=field.is_repeated,
        presence=field.has_presence,
        alternative=field.containing_oneof is not None and len(field.containing_oneof.fields) > 1,
        inner=inner,
        is_json=bool(inner) and inner.full_name == pb.Json.DESCRIPTOR.full_name,
        is_text=field.type == FieldDescriptor.TYPE_STRING,
        least=options.Extensions[pb.least] if options.HasExtension(pb.least) else None,
        most=options.Extensions[pb.most] if options.HasExtension(pb.most) else None,
        host_path=options.Extensions[pb.host_path],
        or_address=options.Extensions[pb.or_address],
    )


# --------------------------------------------------------------------------------------------------------- message to document


def to_document(message: Message, *, only_set: bool = False) -> Any:
    """The document of a message. ``only_set`` leaves out every optional field that is not set, as a request is read."""
    document: dict[str, Any] = {}
    for field in fields_of(message.DESCRIPTOR):
        if field.shape == pb.WHOLE:
            return _value_of(message, field, only_set)
        if field.presence and not message.HasField(field.name):
            if not only_set and field.shape == pb.SHAPE_UNSPECIFIED:
                document[field.name] = None
        elif field.shape == pb.INLINED:
            document |= _value_of(message, field, only_set)
        else:
            document[field.name] = _value_of(message, field, only_set)
    return document


def _value_of(message: Message, field: Field, only_set: bool) -> Any:
    value = getattr(message, field.name)
    if field.inner is None:
        return list(value) if field.repeated else value
    if field.shape == pb.ENTRIES:
        key, entry_value = fields_of(field.inner)
        return {getattr(entry, key.name): _value_of(entry, entry_value, only_set) for entry in value}
    if field.repeated:
        return [_one(item, field, only_set) for item in value]
    return _one(value, field, only_set)


def _one(message: Message, field: Field, only_set: bool) -> Any:
    return json.loads(message.text or "null") if field.is_json else to_document(message, only_set=only_set)


# --------------------------------------------------------------------------------------------------------- document to message


def to_message(document: Any, message_type: Callable[[], M], *, strict: bool = False) -> M:
    """The message of a document; keys that it lacks are not set.

    ``strict`` refuses keys that the message has no field for and fields that the document has no key for, which are otherwise left out: so a test
    finds where a document and ``sluice.proto`` have drifted apart. Raises ``ValueError`` naming the field that cannot hold its value.
    """
    message = message_type()
    _fill(message, document, strict, "")
    return message


def _fill(message: Message, document: Any, strict: bool, place: str) -> None:
    fields = fields_of(message.DESCRIPTOR)
    if fields and fields[0].shape == pb.WHOLE:
        _set(message, fields[0], document, strict, place)
        return
    _check_keys(message.DESCRIPTOR, document, strict, place)
    for field in fields:
        if field.shape == pb.INLINED and field.inner:
            if field.alternative and not set(document) <= set(_keys(field.inner)):
                continue
            _set(message, field, {key: document[key] for key in _keys(field.inner) if key in document}, strict, place)
        elif document.get(field.name) is not None:
            _set(message, field, document[field.name], strict, f"{place}.{field.name}" if place else field.name)


def _check_keys(descriptor: Descriptor, document: Mapping[str, Any], strict: bool, place: str) -> None:
    unknown = [key for key in document if key not in _keys(descriptor)]
    if unknown:
        log.warning("%s has no field for %s: left out", descriptor.full_name, ", ".join(unknown))
    if strict:
        wanted = (field.name for field in fields_of(descriptor) if field.shape in (pb.SHAPE_UNSPECIFIED, pb.ENTRIES))
        missing = [name for name in wanted if name not in document]
        if unknown or missing:
            raise ValueError(f"{descriptor.name} {place}: keys without a field {unknown}, fields without a key {missing}")


@cache
def _keys(descriptor: Descriptor) -> tuple[str, ...]:
    """The keys that a document of this message may have, in order."""
    keys: list[str] = []
    for field in fields_of(descriptor):
        keys += _keys(field.inner) if field.shape == pb.INLINED and field.inner else [field.name]
    return tuple(keys)


def _set(message: Message, field: Field, value: Any, strict: bool, place: str) -> None:
    try:
        if field.inner is None:
            _set_plain(message, field, value, place)
        elif field.shape == pb.ENTRIES:
            key, entry_value = fields_of(field.inner)
            for name, item in value.items():
                entry = getattr(message, field.name).add()
                _set(entry, key, name, strict, place)
                _set(entry, entry_value, item, strict, f"{place}.{name}")
        elif field.repeated:
            for item in value:
                _fill_one(getattr(message, field.name).add(), field, item, strict, place)
        else:
            inner = getattr(message, field.name)
            inner.SetInParent()
            _fill_one(inner, field, value, strict, place)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{place}: {value!r} is of another type than {message.DESCRIPTOR.name} has there") from error


def _fill_one(message: Message, field: Field, value: Any, strict: bool, place: str) -> None:
    if field.is_json:
        message.text = json.dumps(value)
    else:
        _fill(message, value, strict, place)


def _set_plain(message: Message, field: Field, value: Any, place: str) -> None:
    try:
        if field.repeated:
            getattr(message, field.name).extend(_unicode(item) if field.is_text else item for item in value)
        else:
            setattr(message, field.name, _unicode(value) if field.is_text else value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{place}: {value!r} is outside of the range of 64 bits") from error


def _unicode(text: Any) -> Any:
    if isinstance(text, str) and not text.isascii():
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text
