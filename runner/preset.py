"""A saved request: fields of a ``JobSpec``, perhaps not all that a job needs, checked as far as they go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from contracts.errors import ParameterError, RequestError
from contracts.image import Kind, ObjectType
from contracts.job import JobSpec
from contracts.parameters import find_parameter, merge_templates, parse_parameter
from registry import images
from registry.images import ImageRecord
from registry.jobs import JobRecord
from runner.installation import Installation

#: Of a request that is run again under another name, or at another time.
_NOT_SAVED = ("name",)
_NEEDED = {Kind.TRAINING: {"train_data": "any"}}
_NEEDED_ELSE = {"data": "any", "model": "any"}


def of_job(job: JobRecord) -> dict[str, Any]:
    """What was asked for, without its name and what was left at its default. The image is named, also where a link chose it."""
    spec = JobSpec.model_validate(job.spec)
    asked = spec.model_dump(mode="json", exclude_defaults=True)
    return {**{name: value for name, value in asked.items() if name not in _NOT_SAVED}, "image": job.image_name}


def changed(
    installation: Installation,
    saved: Mapping[str, Any],
    request: Mapping[str, Any],
    *,
    texts: Sequence[str] = (),
    unset: Sequence[str] = (),
) -> dict[str, Any]:
    """The saved request with these fields changed and those taken out; parameters one by one. Raises ``RequestError``."""
    parameters = {**saved.get("parameters", {}), **_mapping(request.get("parameters") or {})}
    merged = {**saved, **{name: value for name, value in request.items() if value is not None}, "parameters": parameters}
    for field in unset:
        _take_out(merged, field)
    merged["parameters"] = {**merged.get("parameters", {}), **_typed(installation, merged, texts)}
    return _checked({name: value for name, value in merged.items() if value not in ({}, [], ())})


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RequestError("parameters is not an object", hint='Write {"name": value}.', field="parameters")
    return value


def _take_out(request: dict[str, Any], field: str) -> None:
    place, _, name = field.partition(".")
    inside = request.get("parameters", {}) if name and place == "parameters" else request
    key = name or place
    if key not in inside or field == "kind":
        raise RequestError(f"the preset has no {field!r} to take out", hint="`sluice preset show NAME` lists what it has.", field=field)
    if inside is request:
        del request[key]
    else:
        request["parameters"] = {known: value for known, value in inside.items() if known != key}


def _checked(request: dict[str, Any]) -> dict[str, Any]:
    """Every field is one of a request's and of its type; what a job needs beyond them may still be missing."""
    if "kind" not in request:
        raise RequestError("a preset needs a kind", hint="Say --kind training, mining, inference or mining+inference.", field="kind")
    if kept := [name for name in _NOT_SAVED if name in request]:
        raise RequestError(f"a preset does not keep the {kept[0]} of a job", hint="Give it when you run the preset.", field=kept[0])
    needed = _NEEDED.get(request["kind"], _NEEDED_ELSE)
    try:
        whole = JobSpec.model_validate({**needed, **request})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RequestError(
            f"{place or 'the request'}: {first['msg'].removeprefix('Value error, ')}",
            hint="docs/reference/rpc.md lists a JobSpec's fields.",
            field=place,
        ) from error
    dumped = whole.model_dump(mode="json", exclude_defaults=True)
    return {name: value for name, value in dumped.items() if name in request}


def _typed(installation: Installation, request: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    if not texts:
        return {}
    if not request.get("image"):
        raise RequestError("parameters are typed by an image's template", hint="Name it with --image.", field="image")
    with installation.database.reading() as session:
        image = images.get_image(session, request["image"])
    kind = Kind(request.get("kind", Kind.TRAINING))
    dialect = installation.dialect(image.dialect)
    template = _template(image, kind)
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ParameterError(f"{text!r} is not a parameter", hint="Write --set name=value.")
        parameter = find_parameter(template, name.strip(), dialect.reserved_parameters(kind), dialect.extra_parameters(image.metadata))
        values[parameter.name] = parse_parameter(parameter, value)
    return values


def _template(image: ImageRecord, kind: Kind) -> Any:
    """Of the first object type that the image handles for all parts of the kind: the data that decides is not known yet."""
    for object_type in image.metadata.object_types or (ObjectType.DETECTION,):
        found = [image.metadata.find_template(part, object_type) for part in kind.parts]
        templates = [template for template in found if template]
        if len(templates) == len(found):
            return merge_templates(infer=templates[1], mining=templates[0]) if len(templates) == 2 else templates[0]
    raise RequestError(f"{image.name} does not offer {kind}", hint="sluice image list shows the others.")
