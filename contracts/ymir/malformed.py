"""How a JSON result that has the wrong form is named: the file, the place and what was found there."""

from __future__ import annotations

from typing import Any

from contracts.errors import ResultMalformedError


def kind_of(value: Any) -> str:
    """The value's kind in JSON's words."""
    if value is None:
        return "missing or null"
    names = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)


def malformed(name: str, reason: str) -> ResultMalformedError:
    """The one error for a result file whose content has the wrong form."""
    return ResultMalformedError(
        f"/out/{name} cannot be used: {reason[:500]}", hint="The image must write it as the contract says (docs/2-contract.md).", place=name
    )
