"""Evaluations as blocks of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.cli.blocks import Block, Facts, Line, Table, numbers
from runner.cli.units import metric_text, time_text
from runner.references import stage_reference

Document = Mapping[str, Any]

_SHOWN_CONFUSIONS = 10
_CLASS_COLUMNS = (
    "objects",
    "AP",
    "AP50",
    "tp",
    "fp",
    "fn",
    "precision",
    "recall",
    "f1",
    "best_f1",
    "best_f1_confidence",
    "pixels",
    "Acc",
    "IoU",
)


def list_blocks(evaluations: Sequence[Document]) -> list[Block]:
    """One line per evaluation and model."""
    if not evaluations:
        return [Line("No evaluations.")]
    rows = [
        (
            e["id"],
            e["kind"],
            e["data"],
            stage_reference(m["model"], m["stage"]),
            m["job"],
            _numbers(m["metrics"]),
            time_text(e["created_at"]),
        )
        for e in evaluations
        for m in e["models"]
    ]
    return [Table(("evaluation", "kind", "data", "model", "job", "metrics", "created"), rows)]


def definition_blocks(shown: Document) -> list[Block]:
    """What each number is."""
    return [Facts(list(shown["definitions"].items()))]


def show_blocks(shown: Document) -> list[Block]:
    """The test set, the numbers of all models, then the classes of each."""
    blocks: list[Block] = [_facts(shown), Line(), _metrics(shown["models"])]
    for model in shown["models"]:
        blocks += [Line(), Line(_name(model), style="bold"), _left_out(model), _classes(model), *_parts(model), *_confusions(model)]
    return blocks


def comparison_blocks(compared: Document) -> list[Block]:
    """The numbers side by side, then the precision of each class."""
    models = compared["models"]
    test, settings = compared["test_set"], compared["settings"]
    facts = Facts([("kind", compared["kind"]), ("data", test["data"]), ("pictures", test["evaluated"]), ("iou", settings["iou"])])
    name = next((name for name in ("AP", "f1", "IoU") if name in models[0]["classes"][0]), "") if models[0]["classes"] else ""
    names = [_name(model) for model in models]
    rows = [(rows[0]["class"], *(_text(row.get(name)) for row in rows)) for rows in zip(*(m["classes"] for m in models), strict=True)]
    by_class: list[Block] = [Line(), Table((f"{name} of class", *names), rows, numbers(*names))] if name else []
    return [facts, Line(), _metrics(models), *by_class]


def _facts(shown: Document) -> Facts:
    test, settings = shown["test_set"], shown["settings"]
    return Facts(
        [
            ("evaluation", shown["id"]),
            ("kind", shown["kind"]),
            ("data", test["data"]),
            ("pictures", f"{test['evaluated']} evaluated of {test['labelled']} labelled"),
            ("unlabelled", f"{test['unlabelled']} left out" if test["unlabelled"] else ""),
            ("objects", test.get("objects")),
            ("no objects of", ", ".join(test.get("classes_without_objects", ()))),
            ("iou", settings["iou"]),
            ("confidence", settings["confidence"]),
            ("folder", shown["folder"]),
        ]
    )


def _metrics(models: Sequence[Document]) -> Table:
    names = [_name(model) for model in models]
    rows = [(metric, *(_text(model["metrics"].get(metric)) for model in models)) for metric in models[0]["metrics"]]
    return Table(("", *names), rows, numbers(*names))


def _name(model: Document) -> str:
    return f"{stage_reference(model['model'], model['stage'])} ({model['job']})"


def _left_out(model: Document) -> Facts:
    strangers = model.get("classes_unknown_to_test_set") or {}
    return Facts(
        [
            ("unknown to the model", ", ".join(model.get("classes_unknown_to_model") or ())),
            ("unknown to the labels", ", ".join(f"{name} ({count} left out)" for name, count in strangers.items())),
            ("masks unreadable", model.get("unreadable_masks") or ""),
            ("beyond COCO's 100", model.get("predictions_beyond_coco_limit") or ""),
        ],
        indent=2,
    )


def _classes(model: Document) -> Table:
    names = [name for name in _CLASS_COLUMNS if model["classes"] and name in model["classes"][0]]
    rows = [(row["class"], *(_text(row[name]) for name in names)) for row in model["classes"]]
    return Table(
        ("class", *(name.replace("_", " ") for name in names)), rows, numbers(*(name.replace("_", " ") for name in names)), indent=2
    )


def _parts(model: Document) -> list[Block]:
    blocks: list[Block] = []
    named = {**(model.get("by_tag") or {}), **(model.get("by_attribute") or {}), "size": model.get("by_size") or {}}
    for name, values in named.items():
        if values:
            columns = list(dict.fromkeys(column for part in values.values() for column in part))
            rows = [(value or "(none)", *(_text(part.get(column)) for column in columns)) for value, part in values.items()]
            blocks += [Line(), Table((name, *columns), rows, numbers(*columns), indent=2)]
    return blocks


def _confusions(model: Document) -> list[Block]:
    """Those that are taken for another most often."""
    wrong = sorted((c for c in model.get("confusion", ()) if c["true"] != c["predicted"]), key=lambda c: -c["count"])
    rows = [(c["true"] or "(background)", c["predicted"] or "(background)", c["count"]) for c in wrong[:_SHOWN_CONFUSIONS]]
    more = [Line(f"... and {len(wrong) - len(rows)} more pairs: --json", indent=2)] if len(wrong) > len(rows) else []
    return [Line(), Table(("true", "taken for", "times"), rows, numbers("times"), indent=2), *more] if rows else []


def _numbers(metrics: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {_text(value)}" for name, value in list(metrics.items())[:3] if value is not None)


def _text(value: Any) -> str:
    """Counts as they are, shares with four digits, '' for what there is none of."""
    return str(value) if isinstance(value, int | str) else metric_text(value)
