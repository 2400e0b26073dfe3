"""Results of single runs, a JSON line each: a long benchmark is continued where it stopped, and parts of several machines are put together.

They lie in the folder that SLUICE_BENCH_RESULTS names, else in build/benchmarks/mining.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_DEFAULT = Path(__file__).resolve().parents[2] / "build" / "benchmarks" / "mining"


def folder() -> Path:
    """Where results lie; made when it is not there."""
    place = Path(os.environ.get("SLUICE_BENCH_RESULTS", _DEFAULT))
    place.mkdir(parents=True, exist_ok=True)
    return place


def read(name: str) -> list[dict[str, Any]]:
    """All runs kept under ``name`` and in files put beside it (``name.*.jsonl``); of the same run the last counts. A cut off line is left out."""
    files = sorted(folder().glob(f"{name}.jsonl")) + sorted(folder().glob(f"{name}.*.jsonl"))
    runs = {(run["strategy"], run["seed"]): run for file in files for run in _lines(file)}
    return sorted(runs.values(), key=lambda run: (run["strategy"], run["seed"]))


def append(name: str, runs: Iterable[dict[str, Any]]) -> None:
    """Adds runs, each in one write."""
    with (folder() / f"{name}.jsonl").open("a", encoding="utf-8") as file:
        for run in runs:
            file.write(json.dumps(run) + "\n")
            file.flush()


def missing(name: str, strategy: str, seeds: Sequence[int]) -> list[int]:
    """The seeds that a strategy has not run yet."""
    done = {run["seed"] for run in read(name) if run["strategy"] == strategy}
    return [seed for seed in seeds if seed not in done]


def _lines(file: Path) -> list[dict[str, Any]]:
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:  # the process was killed while it wrote
            continue
    return found
