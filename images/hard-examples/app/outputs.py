"""What a mining leaves in ``/out`` beside ModelArts' own files: the ranking, reasons, every intermediate score, the report."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from job_files.contract import CONFIG_ERROR, ImageError, write_aside
from mining.hard_examples.answer import Answer, Row

REASONS, SCORES, REPORT = "mining-reasons.jsonl", "scores.parquet", "report.json"
MAX_BOXES = 1000


def summary_path(configured: Any, out_dir: Path) -> Path | None:
    """Where ``task_summary_file`` lies; None without one. ``/out/...`` is the job's output folder wherever that is.

    SECURITY: it must stay below the output folder. Raises ImageError 300001.
    """
    if configured in (None, "", "None", "none", "null"):
        return None
    text, root = str(configured), os.path.realpath(out_dir)
    inner = text.removeprefix("/out/") if text.startswith("/out/") else text
    place = os.path.realpath(Path(root, inner))
    if "://" in text or "\0" in text or not place.startswith(f"{root}{os.sep}"):
        raise ImageError(CONFIG_ERROR, f"task_summary_file: {text[:200]!r} does not lie below /out; name a file such as /out/summary.json")
    taken = ("result.tsv", "monitor.txt", REASONS, SCORES, REPORT, "output.manifest", "ymir-executor-out.log")
    if Path(place).is_dir() or os.path.relpath(place, root) in taken:
        raise ImageError(
            CONFIG_ERROR, f"task_summary_file: {text[:200]!r} is the name of something else; name a file such as /out/summary.json"
        )
    return Path(place)


def write_reasons(file: Path, answer: Answer, paths: Mapping[str, str], class_names: Sequence[str]) -> None:
    """A line for each picture, the hardest first."""
    lines = (json.dumps(reasons_line(row, paths[row.id], class_names), ensure_ascii=False) for row in answer.ranked())
    write_aside(file, "".join(f"{line}\n" for line in lines))


def reasons_line(row: Row, path: str, class_names: Sequence[str]) -> dict[str, Any]:
    """As docs/2-contract.md has it; of very many boxes the hardest."""
    boxes = sorted(row.boxes, key=lambda box: -box.hardness)[:MAX_BOXES]
    return {
        "image": path,
        "score": round(row.coefficient, 6),
        "hard": row.hard,
        "reasons": list(row.codes),
        "texts": row.texts,
        "boxes": [
            {
                "box": [
                    round(value, 2)
                    for value in (box.corners[0], box.corners[1], box.corners[2] - box.corners[0], box.corners[3] - box.corners[1])
                ],
                "class_name": class_names[box.class_index],
                "score": round(box.score, 6),
                "hardness": round(box.hardness, 6),
                "reasons": list(box.codes),
            }
            for box in boxes
        ],
    }


def write_scores(file: Path, answer: Answer, names: Mapping[str, str]) -> None:
    """Every intermediate score as Parquet; ``name`` is what the picture was imported under."""
    columns = answer.columns()
    columns = {"id": columns.pop("id"), "name": [names.get(row.id, "") for row in answer.rows], **columns}
    aside = file.with_name(f".{file.name}.part")
    pq.write_table(pa.table(columns), aside)
    aside.replace(file)


def write_report(file: Path, report: Mapping[str, Any]) -> None:
    write_aside(file, json.dumps(_plain(report), ensure_ascii=False, indent=1) + "\n")


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
