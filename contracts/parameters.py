"""Typed parameters: a template's defaults, overlaid by what a person gave, with every mistake named.

Nothing is guessed: an unknown name or a value of the wrong type is refused, and ``0``, ``False`` and ``''`` are values like any other.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import yaml

from contracts.errors import ParameterError
from contracts.image import Kind, Parameter, ParameterType, Template

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_INTEGER = re.compile(r"[+-]?[0-9]{1,300}")
_MAX_TEXT = 65_536
_MAX_DEPTH = 20
_MAX_BRACKETS = 200
_EXAMPLES = {
    ParameterType.INT: "a whole number such as 8",
    ParameterType.FLOAT: "a number such as 0.001 or 1e-3",
    ParameterType.BOOL: "true or false",
    ParameterType.STR: "a text",
    ParameterType.LIST: "a list such as [1, 2, 3] or 1,2,3",
}


def merge_templates(infer: Template, mining: Template) -> Template:
    """The template of ``mining+inference``: the inference template overlaid by the mining one (contract reference 4.4).

    Where both have a name, the mining parameter wins in the inference parameter's place.
    """
    overlay = {p.name: p for p in mining.parameters}
    merged = [overlay.pop(p.name, p) for p in infer.parameters]
    return Template(Kind.MINING_INFERENCE, mining.object_type, (*merged, *overlay.values()))


def complete_parameters(
    template: Template, given: Mapping[str, Any], reserved: Collection[str] = (), also: Iterable[Parameter] = ()
) -> dict[str, Any]:
    """Every parameter of the template with the value given for it, or else its default, in the template's order.

    ``reserved`` names are set by the runner: they are refused when given and left out of the answer. ``also`` are parameters that may be
    given although the template lacks them; they have no default. Raises ``ParameterError``.
    """
    known = _known(template, also, reserved)
    for name in given:
        _refuse_unknown(name, known, reserved)
    defaults = {name: value for name, value in template.defaults().items() if name not in reserved}
    return defaults | {name: check_value(known[name], value) for name, value in given.items()}


def check_value(parameter: Parameter, value: Any) -> Any:
    """The value as the parameter's type: an int given for a float becomes one, a tuple a list. Raises ``ParameterError``."""
    if parameter.type is ParameterType.ANY:
        return _plain(parameter, value)
    if parameter.type is ParameterType.FLOAT and isinstance(value, int) and not isinstance(value, bool):
        return _as_float(parameter, value)
    if parameter.type is ParameterType.LIST and isinstance(value, (list, tuple)):
        return _plain(parameter, value)
    if type(value) is not _PYTHON_TYPE[parameter.type]:
        raise _wrong_type(parameter, value)
    return value


def parse_parameter(parameter: Parameter, text: str) -> Any:
    """The value that ``name=text`` on a command line means for this parameter. Raises ``ParameterError``.

    A text parameter takes the text as it stands, also an empty one. A list is written ``[a, b]`` or ``a,b``; without a known type the text
    is read as YAML, so that ``3``, ``0.5``, ``true``, ``null`` and ``[1, 2]`` mean what they look like.
    """
    if len(text) > _MAX_TEXT:
        raise ParameterError(f"parameter {parameter.name!r}: the value has {len(text)} characters", hint=f"At most {_MAX_TEXT} are taken.")
    return _PARSERS[parameter.type](parameter, text)


def find_parameter(template: Template, name: str, reserved: Collection[str] = (), also: Iterable[Parameter] = ()) -> Parameter:
    """The parameter of that name, for a door that must parse its text. Raises ``ParameterError`` naming the known ones."""
    known = _known(template, also, reserved)
    _refuse_unknown(name, known, reserved)
    return known[name]


def _known(template: Template, also: Iterable[Parameter], reserved: Collection[str]) -> dict[str, Parameter]:
    """By name, the template's first; what the template says of a name wins over ``also``."""
    own = {parameter.name: parameter for parameter in template.parameters}
    known = own | {parameter.name: parameter for parameter in also if parameter.name not in own}
    return {name: parameter for name, parameter in known.items() if name not in reserved}


_PYTHON_TYPE = {
    ParameterType.INT: int,
    ParameterType.FLOAT: float,
    ParameterType.BOOL: bool,
    ParameterType.STR: str,
    ParameterType.LIST: list,
}


def _refuse_unknown(name: str, known: Mapping[str, Parameter], reserved: Collection[str]) -> None:
    if name in reserved:
        raise ParameterError(f"parameter {name!r} is set by the runner and cannot be given", hint="Leave it out.", name=name)
    if name in known:
        return
    close = difflib.get_close_matches(str(name), list(known), n=3, cutoff=0.6)
    meant = f"Did you mean {' or '.join(close)}? " if close else ""
    listed = f"The image knows: {', '.join(known)}." if known else "The image has no parameters for this kind."
    raise ParameterError(f"unknown parameter {name!r}", hint=meant + listed, name=name, known=list(known), close=close)


def _wrong_type(parameter: Parameter, value: Any) -> ParameterError:
    return ParameterError(
        f"parameter {parameter.name!r} wants {parameter.type}, got {_shown(value)} ({type(value).__name__})",
        hint=f"Give {_EXAMPLES[parameter.type]}; the default is {parameter.default!r}.",
        name=parameter.name,
        type=str(parameter.type),
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _as_float(parameter: Parameter, value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ParameterError(f"parameter {parameter.name!r}: the number is too large", hint="Give one that fits a float.") from None


def _plain(parameter: Parameter, value: Any, depth: int = 0) -> Any:
    """Only what YAML and JSON can both hold, so that the image reads what was given."""
    if depth > _MAX_DEPTH:
        raise ParameterError(f"parameter {parameter.name!r} is nested deeper than {_MAX_DEPTH} levels", hint="Give a flatter value.")
    if isinstance(value, (list, tuple)):
        return [_plain(parameter, item, depth + 1) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(parameter, item, depth + 1) for key, item in value.items()}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise ParameterError(
        f"parameter {parameter.name!r} cannot hold {_shown(value)} ({type(value).__name__})",
        hint="Give null, true or false, a number, a text, or lists and mappings of these.",
        name=parameter.name,
    )


def _parse_int(parameter: Parameter, text: str) -> int:
    if not _INTEGER.fullmatch(text.strip()):
        raise _wrong_type(parameter, text)
    return int(text)


def _parse_float(parameter: Parameter, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _wrong_type(parameter, text) from None
    if math.isnan(value):
        raise _wrong_type(parameter, text)
    return value


def _parse_bool(parameter: Parameter, text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise _wrong_type(parameter, text)
    return word in _TRUE


def _parse_str(parameter: Parameter, text: str) -> str:  # noqa: ARG001 - one signature for all parsers
    return text


def _parse_list(parameter: Parameter, text: str) -> list[Any]:
    """``[1, 2]`` is YAML; anything else is split at its commas, each piece read as YAML; '' is the empty list."""
    if not text.strip():
        return []
    value = _parse_any(parameter, text if text.lstrip().startswith("[") else f"[{text}]")
    if not isinstance(value, list):
        raise _wrong_type(parameter, text)
    return value


def _parse_any(parameter: Parameter, text: str) -> Any:
    if re.fullmatch(r"\s*[+-]?[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]+\s*", text):  # YAML 1.1 takes 1e-3 for a text; a person means a number
        return float(text)
    if text.count("[") + text.count("{") > _MAX_BRACKETS:  # PyYAML's time grows with the square of the depth
        raise _not_yaml(parameter, text, "it has too many brackets")
    try:
        # aliases could grow into more than any machine holds; no value on a command line needs them
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise _not_yaml(parameter, text, "it has an alias")
        return _plain(parameter, yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, LookupError, AttributeError, TypeError) as error:
        raise _not_yaml(parameter, text, type(error).__name__) from error


def _not_yaml(parameter: Parameter, text: str, why: str) -> ParameterError:
    return ParameterError(
        f"parameter {parameter.name!r}: {_shown(text)} cannot be read as a value ({why})",
        hint="Put a text with special characters in quotes, and a list in square brackets.",
        name=parameter.name,
    )


_PARSERS = {
    ParameterType.INT: _parse_int,
    ParameterType.FLOAT: _parse_float,
    ParameterType.BOOL: _parse_bool,
    ParameterType.STR: _parse_str,
    ParameterType.LIST: _parse_list,
    ParameterType.ANY: _parse_any,
}
