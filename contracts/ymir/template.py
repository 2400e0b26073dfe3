"""A template file: parameters with their types, defaults and help, in the order of the file (contract reference 2.2)."""

from __future__ import annotations

import datetime
import re
from typing import Any

import yaml

from contracts.image import Kind, ObjectType, Parameter, ParameterType, Template
from contracts.ymir.documents import compose_yaml, construct_yaml, decode, duplicate_keys

MAX_BYTES = 256 * 1024

_TYPES = {bool: ParameterType.BOOL, int: ParameterType.INT, float: ParameterType.FLOAT, str: ParameterType.STR, list: ParameterType.LIST}
_MERGE = "tag:yaml.org,2002:merge"


def read_template(content: bytes, kind: Kind, object_type: ObjectType) -> tuple[Template, list[str]]:
    """The template and what was tolerated while reading it. Raises ``ValueError`` saying why it is none."""
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has {len(content)} bytes, at most {MAX_BYTES} are read")
    text, replaced = decode(content)
    node = compose_yaml(text)
    if node is None:
        raise ValueError("it is empty")
    if not isinstance(node, yaml.MappingNode):
        raise ValueError("it is not a mapping of names to values")
    warnings = ["it is not UTF-8: unreadable characters were replaced"] if replaced else []
    warnings += [f"line {line}: {name!r} stands twice, the last value counts" for name, line in duplicate_keys(node)]
    return Template(kind, object_type, tuple(_parameters(node, text.splitlines(), warnings))), warnings


def _parameters(node: yaml.MappingNode, lines: list[str], warnings: list[str]) -> list[Parameter]:
    yaml.SafeLoader("").flatten_mapping(node)  # writes out what `<<` merges in
    found: dict[str, Parameter] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or not key.value:
            warnings.append(f"line {key.start_mark.line + 1}: a parameter without a name is left out")
            continue
        default = _default(key.value, construct_yaml(value), value, warnings)
        found[key.value] = Parameter(key.value, _TYPES.get(type(default), ParameterType.ANY), default, _help(key, value, lines))
    return list(found.values())


def _default(name: str, default: Any, node: yaml.Node, warnings: list[str]) -> Any:
    """The default as JSON and YAML can both hold it. The contract knows only flat templates; deeper ones are kept and reported."""
    if isinstance(default, (datetime.date, datetime.datetime)):
        warnings.append(f"{name!r}: the date {node.value} is taken as a text")
        return str(node.value)
    if isinstance(default, dict):
        warnings.append(f"{name!r}: a nested mapping, where the contract has one level only; it is kept as it is")
    if _holds_foreign(default):
        raise ValueError(f"{name!r} has a value of a type that parameters cannot have")
    return default


def _holds_foreign(value: Any) -> bool:
    if isinstance(value, dict):
        return any(not isinstance(key, str) or _holds_foreign(item) for key, item in value.items())
    if isinstance(value, list):
        return any(_holds_foreign(item) for item in value)
    return value is not None and type(value) not in (bool, int, float, str)


def _help(key: yaml.ScalarNode, value: yaml.Node, lines: list[str]) -> str:
    """The comment block that stands directly above the name, then the comment beside the value."""
    return "\n".join(part for part in (_comment_above(key, lines), _comment_beside(key, value, lines)) if part)


def _comment_above(key: yaml.ScalarNode, lines: list[str]) -> str:
    block: list[str] = []
    for number in range(min(key.start_mark.line, len(lines)) - 1, -1, -1):
        if not lines[number].lstrip().startswith("#"):
            break
        block.insert(0, _uncommented(lines[number]))
    return "\n".join(line for line in block if line)


def _comment_beside(key: yaml.ScalarNode, value: yaml.Node, lines: list[str]) -> str:
    """A value of several lines has its comment beside the name."""
    same_line = value.end_mark.line == key.end_mark.line
    mark, pattern = (value.end_mark, r"\s*(#.*)") if same_line else (key.end_mark, r"\s*:(?:\s+[|>][-+0-9]*)?\s+(#.*)")
    rest = lines[mark.line][mark.column :] if mark.line < len(lines) else ""
    match = re.match(pattern, rest) or (re.match(r"\s*:\s+(#.*)", rest) if same_line else None)
    return _uncommented(match[1]) if match else ""


def _uncommented(line: str) -> str:
    text = line.strip().lstrip("#").strip()
    return text if re.search(r"\w", text) else ""  # a ruler such as `# -----` says nothing
