"""Python tags in YAML that images write by accident, mostly numpy numbers handed to ``yaml.dump``; read without running anything.

SECURITY: no tag is ever looked up as a Python name. A short list of harmless ones is rebuilt from its parts; every other tag is an error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import yaml

PREFIX = "tag:yaml.org,2002:python/"
_NUMPY_MODULES = ("numpy.core.multiarray.", "numpy._core.multiarray.", "numpy.")
_STRUCT_CODES = {"f2": "e", "f4": "f", "f8": "d", "b1": "?"} | {
    f"{s}{n}": c for s, n, c in zip("iuiuiuiu", "11224488", "bBhHiIqQ", strict=True)
}


class _Dtype(str):
    """A numpy type on its way into a number: byte order and code, such as ``<f8``."""


class ResultLoader(yaml.SafeLoader):
    """PyYAML's safe loader plus the harmless Python tags."""


def has_python_tags(node: yaml.Node) -> bool:
    """Whether a plain safe loader would refuse the tree."""
    pending, seen = [node], set[int]()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.tag.startswith(PREFIX):
            return True
        if isinstance(node, yaml.MappingNode):
            pending += [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value
    return False


def _construct(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    build = _BUILDERS.get(suffix)
    if suffix.startswith("object/apply:"):
        build = _object_builder(suffix.removeprefix("object/apply:"))
    if build is None:
        raise yaml.constructor.ConstructorError(
            None, None, f"a Python object ({suffix}), where only plain values may stand", node.start_mark
        )
    return build(loader, node)


def _object_builder(name: str) -> Callable[[yaml.SafeLoader, yaml.Node], Any] | None:
    if name in ("collections.OrderedDict",):
        return lambda loader, node: dict(_arguments(loader, node)[0])
    if name in ("pathlib.PosixPath", "pathlib._local.PosixPath"):
        return lambda loader, node: "/".join(map(str, _arguments(loader, node))).replace("//", "/")
    for module in _NUMPY_MODULES:
        if name == module + "dtype":
            return _numpy_dtype
        if name == module + "scalar":
            return _numpy_scalar
    return None


def _arguments(loader: yaml.SafeLoader, node: yaml.Node) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        node = next((value for key, value in node.value if key.value == "args"), node)
    if not isinstance(node, yaml.SequenceNode):
        raise yaml.constructor.ConstructorError(None, None, "a Python object without arguments", node.start_mark)
    return loader.construct_sequence(node, deep=True)


def _numpy_dtype(loader: yaml.SafeLoader, node: yaml.Node) -> _Dtype:
    code = str(_arguments(loader, node)[0])
    state = next((value for key, value in node.value if key.value == "state"), None) if isinstance(node, yaml.MappingNode) else None
    order = loader.construct_sequence(state, deep=True)[1] if isinstance(state, yaml.SequenceNode) else "<"
    return _Dtype((">" if order == ">" else "<") + code)


def _numpy_scalar(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    dtype, content = _arguments(loader, node)
    code = _STRUCT_CODES.get(dtype[1:]) if isinstance(dtype, _Dtype) else None
    if code is None or not isinstance(content, bytes) or len(content) != struct.calcsize("<" + code):
        raise yaml.constructor.ConstructorError(None, None, "a numpy value that is not a plain number", node.start_mark)
    return struct.unpack(dtype[0] + code, content)[0]


def _text(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else str(loader.construct_object(node, deep=True))


def _sequence(loader: yaml.SafeLoader, node: yaml.Node) -> list[Any]:
    return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else []


def _as(tag: str) -> Callable[[yaml.SafeLoader, yaml.Node], Any]:
    def build(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
        node.tag = f"tag:yaml.org,2002:{tag}"
        return loader.yaml_constructors[node.tag](loader, node)

    return build


_BUILDERS: dict[str, Callable[[yaml.SafeLoader, yaml.Node], Any]] = {
    "str": _text,
    "unicode": _text,
    "tuple": _sequence,
    "list": _sequence,
    "int": _as("int"),
    "long": _as("int"),
    "float": _as("float"),
    "bool": _as("bool"),
    "none": _as("null"),
}

ResultLoader.add_multi_constructor(PREFIX, _construct)
