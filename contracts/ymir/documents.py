"""YAML and JSON that someone else wrote, parsed with bounds: YAML 1.1 as PyYAML reads it, for which the published images were written.

A text can be small and still mean more than a machine can hold (aliases of aliases), or nest deeper than Python goes. Everything here
answers such a text with ``ValueError`` and a message for people; the callers turn it into a warning or an error of the tree.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

import yaml

MAX_NODES = 100_000
MAX_DEPTH = 50
_MAX_NUMBER_CHARACTERS = 400  # PyYAML reads 1:1:1:... as base 60, in time that grows with the square of the length
_NUMBER_TAGS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
#: What PyYAML's constructors raise for a wrong text behind a right tag, such as ``!!int ''`` or ``!!timestamp x``.
_YAML_ERRORS = (yaml.YAMLError, ValueError, ArithmeticError, RecursionError, LookupError, AttributeError, TypeError)


def decode(content: bytes) -> tuple[str, bool]:
    """The text, and whether bytes that are not UTF-8 had to be replaced. A byte order mark is dropped."""
    try:
        return content.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        return content.decode("utf-8-sig", errors="replace"), True


def compose_yaml(text: str) -> yaml.Node | None:
    """The checked tree of the one document in the text, or None when it is empty. Raises ``ValueError``."""
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _measure(node)
        return node
    except _YAML_ERRORS as error:
        raise ValueError(_yaml_reason(error)) from error


def construct_yaml(node: yaml.Node, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """The value of a checked tree. Raises ``ValueError``."""
    try:
        return loader("").construct_document(node)
    except _YAML_ERRORS as error:
        raise ValueError(_yaml_reason(error)) from error


def parse_yaml(text: str) -> Any:
    """The value of the one document in the text, None when it is empty. Raises ``ValueError``."""
    node = compose_yaml(text)
    return None if node is None else construct_yaml(node)


def duplicate_keys(node: yaml.Node) -> list[tuple[str, int]]:
    """Every key that its mapping holds twice, with its line; PyYAML keeps the last."""
    found: list[tuple[str, int]] = []
    pending, seen = [node], set()
    while pending:
        node = pending.pop()
        if id(node) in seen or isinstance(node, yaml.ScalarNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            found += _duplicates_of(node)
        pending += _children(node)
    return sorted(found, key=lambda item: item[1])


def parse_json(text: str) -> tuple[Any, int]:
    """The value and the number of keys lost because their object held them twice. Raises ``ValueError``.

    ``NaN`` and ``Infinity`` are passed on as floats: readers must check numbers with ``math.isfinite``.
    """
    lost = 0

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal lost
        built = dict(pairs)
        lost += len(pairs) - len(built)
        return built

    try:
        return json.loads(text, object_pairs_hook=build), lost
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def plain(value: Any) -> Any:
    """A copy of the value made of what YAML and JSON can both hold; anything else becomes its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for base in (int, float, str):  # an enum or a subclass would reach the dumper as something it does not know
        if isinstance(value, base):
            return base(value) if base is not str else str.__str__(value)
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return str(value)


# libyaml's writer where the wheel has it: ten times as fast, to the same bytes.
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_WIDEST = 2**31 - 1


class _PlainDumper(_Dumper):  # type: ignore[misc]
    """Writes every value out: a list that stands in two places gets no anchor, which a simple reader would not understand."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class asks about data
        return True


def dump_yaml(value: Mapping[str, Any]) -> str:
    """The mapping as block YAML: keys sorted, Unicode kept, no line folded (some images read the file line by line)."""
    return yaml.dump(plain(value), Dumper=_PlainDumper, sort_keys=True, allow_unicode=True, default_flow_style=False, width=_WIDEST)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _measure(root: yaml.Node) -> None:
    """Refuse a tree that would be too large or too deep with every alias written out, or that contains itself."""
    sizes: dict[int, tuple[int, int]] = {}
    opened: set[int] = set()

    def measure(node: yaml.Node) -> tuple[int, int]:
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in opened:
            raise ValueError("an alias points to what contains it")
        if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBER_TAGS and len(node.value) > _MAX_NUMBER_CHARACTERS:
            raise ValueError(f"line {node.start_mark.line + 1}: a number of {len(node.value)} characters")
        opened.add(id(node))
        size, depth = 1, 0
        for child in _children(node):
            child_size, child_depth = measure(child)
            size, depth = size + child_size, max(depth, child_depth)
        opened.discard(id(node))
        if size > MAX_NODES:
            raise ValueError(f"it has more than {MAX_NODES} values")
        if depth >= MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
        sizes[id(node)] = (size, depth + 1)
        return sizes[id(node)]

    measure(root)


def _duplicates_of(node: yaml.MappingNode) -> list[tuple[str, int]]:
    names = [(key.value, key.start_mark.line + 1) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    known: set[str] = set()
    return [(name, line) for name, line in names if name in known or known.add(name)]  # type: ignore[func-returns-value]


def _yaml_reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        return f"{where}{error.problem or error.context or 'it is not YAML'}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"character {error.position}: {error.reason}"
    return str(error) or type(error).__name__
