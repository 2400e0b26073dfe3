"""What Sluice adds to a container: a whole inference job around an image that does almost nothing, beside starting that image alone.

Ours: submit, stage the pictures, create, start, follow, collect, store, remove. Floor: the engine creates, starts, waits for and removes a
container of the same image over the same folders.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import docker

from benchmarks.measure import Row, compare, cost_of_call, rows_of
from contracts.job import JobSpec
from runner.samples import make_digits
from runner.service import Runner
from runner.settings import load_settings

PROBE = Path(__file__).resolve().parent.parent / "tests" / "images" / "probe"
IMAGE = "probe-bench"


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as scratch, Runner.open(load_settings({"home": f"{scratch}/home"})) as runner:
        _prepare(runner, Path(scratch), (10,) if quick else (10, 1000))
        for count in (10,) if quick else (10, 1000):
            rows += _measure(runner, count, 1 if quick else 10)
    return rows


def _prepare(runner: Runner, scratch: Path, counts: tuple[int, ...]) -> None:
    runner.build_image(PROBE, name=IMAGE)
    runner.link_images(IMAGE, IMAGE)
    for count in counts:
        folder = scratch / f"scenes{count}"
        make_digits(folder, train=5, val=5, pool=count, size=96)
        runner.import_dataset(f"scenes{count}", folder)
    _job(runner, kind="training", image=IMAGE, train_data=f"scenes{counts[0]}", name="model")


def _job(runner: Runner, **spec: Any) -> dict[str, Any]:
    *_, job = runner.watch(runner.submit(JobSpec(**spec))["id"])
    if job["state"] != "succeeded":
        raise RuntimeError(f"the job that should be measured failed: {job['end_reason']}: {job['evidence']}")
    return job


def _inputs_of(runner: Runner, **spec: Any) -> dict[str, Any]:
    """A job whose run directory still holds what it was given: only a failed one keeps it. Its container, started again, succeeds."""
    *_, job = runner.watch(runner.submit(JobSpec(**spec, parameters={"exit_code": 1}))["id"])
    config = Path(job["run_dir"]) / "in" / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("exit_code: 1", "exit_code: 0"), encoding="utf-8")
    return job


def _measure(runner: Runner, count: int, pairs: int) -> list[Row]:
    client = docker.from_env()
    spec = {"kind": "inference", "model": "model", "data": f"scenes{count}:pool"}
    example = _inputs_of(runner, **spec)
    run_dir = Path(example["run_dir"])
    volumes = {str(run_dir / "in"): {"bind": "/in", "mode": "ro"}, str(run_dir / "out"): {"bind": "/out", "mode": "rw"}}
    alone = {"volumes": volumes, "network_mode": "none", "user": f"{os.getuid()}:{os.getgid()}", "remove": True, "init": True}
    ours, floor = compare(
        lambda: cost_of_call(lambda: _job(runner, **spec)),
        lambda: cost_of_call(lambda: client.containers.run(example["image"]["digest"], **alone)),
        pairs,
    )
    client.close()
    # Most of the floor's processor time is the engine's, which is not ours to measure: the wall tells.
    return [row for row in rows_of(f"inference over {count} pictures", ours, floor, goal=None) if row.case.endswith("wall time")]
