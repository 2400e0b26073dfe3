"""The files of one evaluation beside its document: tables as Parquet, pictures, and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.evaluation.plots import confusion_png, pr_png, report_html, thinned
from runner.evaluation_kinds import ModelResult
from runner.references import stage_reference
from runner.tables import codes_of, write_table

_BACKGROUND = "(background)"
_RECALLS = np.linspace(0, 1, 101)


def write_files(folder: Path, document: Mapping[str, Any], results: Sequence[ModelResult]) -> None:
    """One table of each sort for all models; pictures of each model, named after its job."""
    for name in sorted({name for result in results for name in result.tables}):
        parts = [result.tables[name] for result in results if name in result.tables]
        write_table(folder / name, pa.concat_tables(parts, promote_options="permissive"))
    models = [_drawn(folder, model, result) for model, result in zip(document["models"], results, strict=True)]
    test, settings = document["test_set"], document["settings"]
    about = f"{test['data']}: {test['evaluated']} labelled pictures, IoU {settings['iou']}, confidence {settings['confidence']}"
    page = {"title": f"{document['kind']}: {document['id']}", "about": about, "definitions": document["definitions"], "models": models}
    report_html(folder / "report.html", page)


def _drawn(folder: Path, model: Mapping[str, Any], result: ModelResult) -> dict[str, Any]:
    """The pictures of a model, and what the page shows of it."""
    name = f"{stage_reference(model['model'], model['stage'])} ({model['job']})"
    names = [row["class"] for row in model["classes"]] + [_BACKGROUND]
    cells = _cells(model.get("confusion", ()), names)
    if cells:
        confusion_png(
            folder / f"confusion-{result.job}.png", f"What is taken for what: {name}. Rows: true, columns: predicted", names, cells
        )
    curves = _curves(result.tables["curves.parquet"], model["classes"]) if "curves.parquet" in result.tables else []
    if curves:
        lines = [(curve["class"], np.array(curve["whole"])[:, 0], np.array(curve["whole"])[:, 1]) for curve in curves]
        pr_png(
            folder / f"pr-{result.job}.png",
            f"Precision over recall: {name}. Thick: mean of the classes",
            lines,
            _mean(curves, model["classes"]),
        )
    for curve in curves:
        del curve["whole"]
    return {"name": name, "metrics": model["metrics"], "curves": curves, "names": names, "confusion": cells}


def _cells(confusion: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[tuple[int, int, int]]:
    numbers: dict[str | None, int] = {name: number for number, name in enumerate(names[:-1])}
    numbers[None] = len(names) - 1
    return [(numbers[cell["true"]], numbers[cell["predicted"]], cell["count"]) for cell in confusion]


def _curves(table: pa.Table, classes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of every class with a curve: its envelope as recall, precision, confidence; ``points`` is what the page draws of the ``whole``."""
    codes, words = codes_of(table["class"])
    columns = np.stack([np.asarray(table[name].to_numpy(), np.float64) for name in ("recall", "envelope", "confidence")], axis=1)
    precision = {row["class"]: row.get("AP50") for row in classes}
    begin = np.searchsorted(codes, np.arange(len(words) + 1))
    made = []
    for number in np.flatnonzero(np.diff(begin)):
        whole = columns[begin[number] : begin[number + 1]]
        points = [[round(value, 5) for value in point] for point in whole[thinned(len(whole))].tolist()]
        made.append({"class": words[number], "ap": precision.get(words[number]), "points": points, "whole": whole})
    return made


def _mean(curves: Sequence[Mapping[str, Any]], classes: Sequence[Mapping[str, Any]]) -> np.ndarray[Any, Any]:
    """(101, 2) recall, and the mean over the classes with objects of the largest precision at that recall or above; 0 where it is not reached."""
    counted = sum(1 for row in classes if row["objects"])
    total = np.zeros(len(_RECALLS))
    for curve in curves:
        whole = curve["whole"]
        place = np.searchsorted(whole[:, 0], _RECALLS)
        total += np.where(place < len(whole), np.r_[whole[:, 1], 0.0][np.minimum(place, len(whole))], 0.0)
    return np.stack([_RECALLS, total / max(counted, 1)], axis=1)
