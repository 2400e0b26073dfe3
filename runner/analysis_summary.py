"""The short form of a report: what a command prints and a program asks for first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_SHOWN_FAILURES = 20


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """Totals, classes, what changed, and each feature's mean and quartiles; the histograms stay in the report."""
    return {
        "versions": [{key: value for key, value in version.items() if key != "statistics"} for version in report["versions"]],
        "classes": _classes(report),
        "summaries": [
            {
                "key": chart["key"],
                "title": chart["title"],
                "unit": chart["x"],
                "of": [{"name": s["name"], **s["summary"]} for s in chart["series"]],
            }
            for chart in report["features"]
        ],
        "comparison": report["comparison"],
        "overlap": report["overlap"]["shared"],
        "unreadable": len(report["failures"]),
        "failures": report["failures"][:_SHOWN_FAILURES],
        "files": ["report.html", "report.json", "report.png"],
    }


def _classes(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    keys = ("class", "annotations", "share", "images", "splits")
    return [
        {"version": version["name"], **{key: entry[key] for key in keys}}
        for version in report["versions"]
        for entry in version["statistics"]["classes"]
    ]


def to_json(report: Mapping[str, Any]) -> str:
    return json.dumps(report, ensure_ascii=False, allow_nan=False)
