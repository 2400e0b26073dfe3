"""Operations on a version of a million pictures and five million boxes: ``scripts/bench operations [--images 1000000]``.

Each operation is run as a door runs it: the tables are read, changed, hashed, written, synced and entered as a version. The floor is reading
and writing the same tables unchanged, without anything of ours. Repeated and interleaved; the memory is the peak of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.operations import parse_operation
from registry.dataset_classes import DatasetClass
from runner.deriving import derive
from runner.installation import Installation
from runner.publishing import Draft, publish
from runner.settings import load_settings
from runner.tables import ANNOTATIONS, IMAGES, Tables, ordered, words

GOAL_S, GOAL_BYTES = 2.0, 4 * 1024**3
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        home = Path(folder)
        prepare(home, given.images, 5 * given.images)
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in ("floor: read and write", *OPERATIONS)}
        for _ in range(given.rounds):
            results["floor: read and write"].append(in_process(floor, home))
            for name, operation in OPERATIONS.items():
                results[name].append(in_process(measure, home, operation))
    show(results, given.images)


def show(results: dict[str, list[dict[str, Any]]], images: int) -> None:
    base = min(r["wall"] for r in results["floor: read and write"])
    print(f"{images:,} pictures, {5 * images:,} boxes; best of {len(next(iter(results.values())))} rounds; goal {GOAL_S:g} s, 4 GiB")
    for name, rounds in results.items():
        best = min(rounds, key=lambda r: r["wall"])
        print(
            f"{name:<24} {best['wall']:6.2f} s  {best['wall'] / base:5.2f}x the floor  CPU {best['cpu']:5.2f} s  "
            f"peak {best['peak'] / 1024**3:4.2f} GiB  -> {best['images']:,} pictures, {best['annotations']:,} boxes"
        )
    print(json.dumps({name: min(r["wall"] for r in rounds) for name, rounds in results.items()}))


if __name__ == "__main__":
    main()
