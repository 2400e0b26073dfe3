"""Chooses pictures by an expression, evaluated on columns: ``has("rbc") and width > 640 and not hard``.

Names: ``name, split, state, extension`` (texts), ``width, height, size_bytes, annotations`` (numbers), ``aspect`` (width / height), ``hard``,
``coefficient`` (nan where nobody said). Functions: ``has("class")``, ``count("class")``, ``tag("name")`` ('' where there is none),
``like(text, "pattern")``. Operators: ``and or not``, comparisons, ``in (...)``, ``+ - * /``. ``true`` is every picture.
"""

from __future__ import annotations

import ast
import fnmatch
import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from contracts.errors import RequestError
from runner.tables import Mask, Tables, codes_of

_LONGEST = 10_000
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_CALCULATE: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_TEXTS = ("name", "split", "state", "extension")
_NUMBERS = ("width", "height", "size_bytes")


def choose(tables: Tables, expression: str, canonical: Mapping[str, str]) -> Mask:
    """The pictures that fit; ``canonical`` gives the class that a name means. Raises ``RequestError`` naming the part that is wrong."""
    try:
        if len(expression) > _LONGEST:
            raise SyntaxError(f"longer than {_LONGEST} characters")
        tree = ast.parse(expression.strip(), mode="eval").body
        value = _Evaluation(tables, canonical).value(tree)
    except (SyntaxError, RecursionError, MemoryError, TypeError, ValueError, np.exceptions.DTypePromotionError) as error:
        reason = getattr(error, "msg", None) or str(error)
        raise RequestError(f"the expression {expression[:200]!r} cannot be read: {reason}", hint=_HINT) from error
    if np.ndim(value) == 0 and isinstance(value, bool | np.bool_):
        return np.full(len(tables), bool(value))
    if getattr(value, "dtype", None) != np.bool_:
        raise RequestError(f"the expression {expression[:200]!r} is not true or false", hint=_HINT)
    return np.asarray(value, bool)


_HINT = 'Such as: has("cat") and width >= 640 and split == "train".'


class _Evaluation:
    """One walk through the tree. SECURITY: only the nodes below are known; nothing of the expression is ever run as Python."""

    def __init__(self, tables: Tables, canonical: Mapping[str, str]) -> None:
        self._tables = tables
        self._canonical = canonical

    def value(self, node: ast.expr) -> Any:
        known: dict[type[ast.expr], Callable[[Any], Any]] = {
            ast.BoolOp: self._bool, ast.UnaryOp: self._unary, ast.Compare: self._compare, ast.BinOp: self._calculate, ast.Name: self._name,
            ast.Constant: self._constant, ast.Call: self._call, ast.Tuple: self._list, ast.List: self._list,
        }  # fmt: skip
        if type(node) not in known:
            raise ValueError(f"{ast.unparse(node)[:60]!r} is not known here")
        return known[type(node)](node)

    def _bool(self, node: ast.BoolOp) -> Any:
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        values = [self._truth(part) for part in node.values]
        joined = values[0]
        for value in values[1:]:
            joined = join(joined, value)
        return joined

    def _truth(self, node: ast.expr) -> Any:
        value = self.value(node)
        if not isinstance(value, bool) and getattr(value, "dtype", None) != np.bool_:
            raise ValueError(f"{ast.unparse(node)[:60]!r} is not true or false")
        return value

    def _unary(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not):
            return np.logical_not(self._truth(node.operand))
        if isinstance(node.op, ast.USub):
            return -self.value(node.operand)
        raise ValueError(f"{ast.unparse(node)[:60]!r} is not known here")

    def _compare(self, node: ast.Compare) -> Any:
        left, result = self.value(node.left), np.bool_(True)
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.value(right_node)
            result = np.logical_and(result, self._one_comparison(left, op, right, node))
            left = right
        return result

    def _one_comparison(self, left: Any, op: ast.cmpop, right: Any, node: ast.Compare) -> Any:
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, list):
                raise ValueError(f"{ast.unparse(node)[:60]!r}: write in (a, b, ...)")
            found = np.isin(left, np.array(right, dtype=object if _is_text(left) else None))
            return np.logical_not(found) if isinstance(op, ast.NotIn) else found
        if type(op) not in _COMPARE:
            raise ValueError(f"{ast.unparse(node)[:60]!r} is not known here")
        if _is_text(left) != _is_text(right):
            raise ValueError(f"{ast.unparse(node)[:60]!r} compares a text with a number")
        return np.asarray(_COMPARE[type(op)](left, right), bool)

    def _calculate(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        if type(node.op) not in _CALCULATE or _is_text(left) or _is_text(right):
            raise ValueError(f"{ast.unparse(node)[:60]!r} cannot be calculated")
        with np.errstate(divide="ignore", invalid="ignore"):
            return _CALCULATE[type(node.op)](np.asarray(left, float), right)

    def _constant(self, node: ast.Constant) -> Any:
        if not isinstance(node.value, str | int | float | bool):
            raise ValueError(f"{node.value!r} is not known here")
        return node.value

    def _list(self, node: ast.Tuple | ast.List) -> list[Any]:
        return [self.value(part) for part in node.elts]

    def _name(self, node: ast.Name) -> Any:
        tables = self._tables
        if node.id in ("true", "false"):
            return node.id == "true"
        if node.id in _TEXTS or node.id in _NUMBERS or node.id == "hard":
            return tables.image_column(node.id)
        if node.id == "coefficient":
            return tables.image_column("hard_coefficient")
        if node.id == "annotations":
            return tables.counts()
        if node.id == "aspect":
            return tables.image_column("width") / np.maximum(tables.image_column("height"), 1)
        known = ", ".join((*_TEXTS, *_NUMBERS, "annotations", "aspect", "hard", "coefficient", "true"))
        raise ValueError(f"there is no {node.id!r}; known are {known}, and has(), count(), tag(), like()")

    def _call(self, node: ast.Call) -> Any:
        functions: dict[str, tuple[int, Callable[..., Any]]] = {
            "has": (1, lambda name: self._count(name) > 0), "count": (1, self._count), "tag": (1, self._tag), "like": (2, _like),
        }  # fmt: skip
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in functions or node.keywords or len(node.args) != functions[name][0]:
            raise ValueError(f"{ast.unparse(node)[:60]!r} is not known; there are has(class), count(class), tag(name), like(text, pattern)")
        return functions[name][1](*(self.value(argument) for argument in node.args))

    def _count(self, name: Any) -> Any:
        return class_counts(self._tables, class_named(str(name), self._canonical))

    def _tag(self, name: Any) -> Any:
        return tag_values(self._tables, str(name))


def class_named(name: str, canonical: Mapping[str, str]) -> str:
    """The class that a name means. Raises ``RequestError``."""
    cleaned = name.strip().lower()
    if cleaned not in canonical:
        known = ", ".join(sorted(set(canonical.values()))[:20]) or "none"
        raise RequestError(f"there is no class {name!r}", hint=f"Its classes: {known}.")
    return canonical[cleaned]


def class_counts(tables: Tables, name: str) -> Any:
    """Annotations of the class in each picture."""
    codes, names = codes_of(tables.annotations["class_name"])
    if name not in names:
        return np.zeros(len(tables), np.int64)
    return np.bincount(tables.owners[codes == names.index(name)], minlength=len(tables))


def tag_values(tables: Tables, name: str) -> Any:
    """The tag of each picture, '' where it has none. Equal texts are read once."""
    codes, texts = codes_of(tables.images["tags"].dictionary_encode())
    values = [str((json.loads(text) if text else {}).get(name, "")) for text in texts]
    return np.array([*values, ""], dtype=object)[codes]


def _like(texts: Any, pattern: Any) -> Any:
    if not _is_text(texts) or not isinstance(pattern, str):
        raise ValueError('like() wants a text and a pattern, such as like(name, "*.png")')
    fits = re.compile(fnmatch.translate(pattern)).match
    return np.array([bool(fits(text)) for text in np.atleast_1d(texts)])


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or getattr(value, "dtype", None) == np.object_ or (isinstance(value, list) and any(map(_is_text, value)))
