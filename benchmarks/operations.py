"""Operations on a version of a million pictures and five million boxes.

Each operation is run as a door runs it: the tables are read, changed, hashed, written, synced and entered as a version. The floor is reading
and writing the same tables unchanged, without anything of ours. Interleaved, each in a process of its own, whose peak of memory it is.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import Row
from contracts.operations import parse_operation
from registry.dataset_classes import DatasetClass
from runner.deriving import derive
from runner.installation import Installation
from runner.publishing import Draft, publish
from runner.settings import load_settings
from runner.tables import ANNOTATIONS, IMAGES, Tables, ordered, words

GOAL_S, GOAL_GIB = 2.0, 4.0
OPERATIONS: dict[str, dict[str, Any]] = {
    "filter": {"op": "filter", "classes": ["class 3", "class 7"], "min_width": 500},
    "filter by expression": {"op": "filter", "where": 'has("class 3") and width > 500 and not hard'},
    "merge": {"op": "merge", "references": ["other"]},
    "merge, union": {"op": "merge", "references": ["other"], "conflict": "union"},
    "split": {"op": "split", "ratios": {"train": 0.8, "val": 0.2}},
    "rename class": {"op": "rename-class", "old": "class 3", "new": "third"},
}


def make_tables(images: int, boxes: int, seed: int) -> Tables:
    """Random pictures of 80 classes; every second asset is also in the tables of another seed."""
    dice = np.random.default_rng(seed)
    numbers = np.arange(images, dtype=np.uint64) * 2 + np.uint64(seed % 2) * (np.arange(images, dtype=np.uint64) % 2)
    keys = numbers * np.uint64(0x9E3779B97F4A7C15)
    ids = pa.array([f"{key:016x}{number:024x}" for key, number in zip(keys.tolist(), numbers.tolist(), strict=True)])
    zeros = np.zeros(images, np.int32)
    columns = [
        ids, words(zeros, ["jpg"]), dice.integers(320, 1920, images, np.int32), dice.integers(240, 1080, images, np.int32),
        dice.integers(20_000, 500_000, images), pa.array([f"{number}.jpg" for number in numbers.tolist()]), words(zeros, ["train"]),
        words(zeros, ["labeled"]), np.zeros(images, bool), pa.nulls(images, pa.float64()), pa.array(np.full(images, "")),
        pa.nulls(images, pa.string()), pa.array(np.zeros(images, np.int64)).cast(pa.timestamp("ms", "UTC")),
    ]  # fmt: skip
    image_table = pa.Table.from_arrays([pa.array(column) for column in columns], schema=IMAGES)
    none = np.zeros(boxes, np.int32)
    drawn = [
        np.sort(dice.integers(0, images, boxes, np.int32)), words(dice.integers(0, 80, boxes), [f"class {n}" for n in range(80)]),
        *(np.round(dice.uniform(1, 300, boxes), 2) for _ in range(4)), words(none, ["box"]), pa.nulls(boxes, pa.string()),
        np.zeros(boxes, bool), np.zeros(boxes, bool), np.full(boxes, -1, np.float32), np.zeros(boxes, np.float32),
        pa.nulls(boxes, pa.float64()), pa.nulls(boxes, pa.string()), pa.nulls(boxes, pa.string()), words(none, ["human"]),
    ]  # fmt: skip
    return ordered(image_table, pa.Table.from_arrays([pa.array(column) for column in drawn], schema=ANNOTATIONS))


def prepare(home: Path, images: int, boxes: int) -> None:
    installation = Installation(load_settings({"home": str(home), "engine": "process"}))
    names = tuple(f"class {number}" for number in range(80))
    for seed, name in enumerate(("large", "other")):
        share = 1 if name == "large" else 2
        tables = make_tables(images // share, boxes // share, seed)
        publish(Draft(name, tables, names, "benchmark", classes=[DatasetClass(n) for n in names]), installation.database, home)
    installation.close()


def measure(home: Path, operation: dict[str, Any], answer: Any) -> None:
    """In a process of its own, so that its peak of memory is the operation's."""
    installation = Installation(load_settings({"home": str(home), "engine": "process"}))
    installation.database  # noqa: B018 - opened, as it is in a runner
    before_cpu, before = time.process_time(), time.perf_counter()
    report = derive(installation, "large@V001", parse_operation(operation), into=f"made-{time.time_ns()}")
    wall, cpu = time.perf_counter() - before, time.process_time() - before_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer.send({"wall": wall, "cpu": cpu, "peak": peak, "images": report["images"], "annotations": report["annotations"]})


def floor(home: Path, answer: Any) -> None:
    folder = home / "datasets" / "large" / "V001"
    before_cpu, before = time.process_time(), time.perf_counter()
    tables = [pq.read_table(folder / f"{name}.parquet") for name in ("images", "annotations")]
    with tempfile.TemporaryDirectory(dir=home) as other:
        for number, table in enumerate(tables):
            words_ = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
            pq.write_table(table, Path(other) / f"{number}.parquet", compression="lz4", use_dictionary=words_)
    wall, cpu = time.perf_counter() - before, time.process_time() - before_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer.send({"wall": wall, "cpu": cpu, "peak": peak, "images": len(tables[0]), "annotations": len(tables[1])})


def in_process(target: Any, *arguments: Any) -> dict[str, Any]:
    here, there = multiprocessing.get_context("spawn").Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=target, args=(*arguments, there))
    process.start()
    found: dict[str, Any] = here.recv()
    process.join()
    return found


def run(*, quick: bool = False) -> list[Row]:
    """Seconds of each operation beside the floor; then the slowest beside the goal, and the peak of memory."""
    images, rounds = (50_000, 1) if quick else (1_000_000, 3)
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        home = Path(folder)
        prepare(home, images, 5 * images)
        base: list[dict[str, Any]] = []
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in OPERATIONS}
        for _ in range(rounds):
            base.append(in_process(floor, home))
            for name, operation in OPERATIONS.items():
                results[name].append(in_process(measure, home, operation))
    return rows(results, base, images)


def rows(results: dict[str, list[dict[str, Any]]], base: list[dict[str, Any]], images: int) -> list[Row]:
    found = [
        Row(f"{name}, {images:,} pictures, {what}", ours, least, "s", ours / least)
        for name, rounds in results.items()
        for what in ("wall", "cpu")
        for ours, least in [(min(r[what] for r in rounds), min(r[what] for r in base))]
    ]
    slowest = max(min(r["wall"] for r in rounds) for rounds in results.values())
    peak = max(r["peak"] for rounds in results.values() for r in rounds)
    found.append(Row("the slowest beside the goal", slowest, GOAL_S, "s", slowest / GOAL_S, goal=1.0))
    found.append(Row("peak of memory beside the goal", peak / 1024**3, GOAL_GIB, "GiB", peak / 1024**3 / GOAL_GIB, goal=1.0))
    return found
