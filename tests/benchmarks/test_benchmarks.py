"""Every benchmark runs and says what a program can read. How fast it was is never judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDS_DOCKER = {"logs", "overhead", "reattach"}
NAMES = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem not in ("__init__", "__main__", "measure"))
ROW_KEYS = {"case", "ours", "floor", "peers", "unit", "ratio", "goal", "met"}


def _bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.docker] if name in NEEDS_DOCKER else []) for name in NAMES])
def test_a_benchmark_answers_with_one_json_document(name: str) -> None:
    answer = _bench(name, "--json", "--quick")
    assert answer.returncode == 0, answer.stderr[-2000:]
    document = json.loads(answer.stdout)
    assert (document["name"], set(document["machine"]) >= {"python", "processor", "cores"}) == (name, True)
    assert document["rows"]
    for row in document["rows"]:
        assert set(row) == ROW_KEYS
        assert row["ours"] > 0 < row["floor"]
        assert row["met"] == (None if row["goal"] is None else row["ratio"] <= row["goal"])


def test_people_get_a_table() -> None:
    assert "sluice --help" in _bench("startup", "--quick").stdout


def test_an_unknown_benchmark_is_answered_with_the_known_ones() -> None:
    answer = _bench("nonsense")
    assert answer.returncode == 2
    assert "startup" in answer.stderr
