"""A report as one web page that needs nothing else: no network, no server, no library; in light and in dark."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

_PLACE = "__REPORT__"


def page(report: Mapping[str, Any]) -> str:
    """The page of a report (its keys are described in docs/notes/analysis.md)."""
    template = files("analysis").joinpath("report.html").read_text(encoding="utf-8")
    # SECURITY: names of classes and files come from anywhere. Inside a script element only "<" could end the data; the page's script
    # puts every text into the document as text, never as markup, and its policy lets it load nothing.
    data = json.dumps(report, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return template.replace(_PLACE, data)
