"""How soon the input of a job over very many pictures is ready, and how soon it is gone when the job has ended.

Ours is the step ``stage`` of an inference job as the runner does it, from the version's tables to the last file: in the isolated view, where the
job gets links to its own pictures, and in the index view, where it is shown the store and only the index is written. Beside the isolated view
``cp -al``, four at once over the store's folders, and beside the index view only reading the ids, listing the store and writing the rows. A
training adds a file of annotations (ARK) for each picture; beside it the same files by bare calls. YMIR copies: 20,000 files by
``shutil.copyfile``, scaled to all of them.

``SLUICE_BENCH_ASSETS`` is how many pictures (100,000), ``SLUICE_BENCH_DIR`` a folder on the disk to measure, where they stay for the next time;
without it they go to the temporary folder, for this time only. The pictures are tiny: nothing here looks into them, and no byte of them is
copied but by ``shutil.copyfile``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.measure import Cost, Row, cost_of_command
from contracts.job import JobSpec
from registry import datasets, jobs
from runner.dropped import FOLDER
from runner.execute import Attempt
from runner.journal import Orders
from runner.run_dir import RunDir
from runner.samples import make_digits
from runner.service import Runner
from runner.settings import load_settings
from runner.tables import ANNOTATIONS, IMAGES, Tables, read_image_columns, words, write_tables

PROBE = Path(__file__).resolve().parent.parent / "tests" / "images" / "probe"
ISOLATED_GOAL = 1.2
_COPIED = 20_000
_AT_ONCE = 4
_ARK = b"0, 10, 10, 59, 59, -1.0, 0.0\n"
_INFERENCE = {"kind": "inference", "image": "probe", "model": "model", "data": "many"}
_TRAINING = {"kind": "training", "image": "probe", "train_data": "many", "parameters": {"export_format": "ark:raw"}}


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    count = 3000 if quick else int(os.environ.get("SLUICE_BENCH_ASSETS", "100000"))
    with _place(quick) as place:
        home = _home(place / f"home-{count}", count)
        with _runner(home, 0) as isolated, _runner(home, 1) as index:
            bench = _Bench(isolated, index, place, count)
            rows = bench.rows(1 if quick else 2 if count > 200_000 else 5)
        return rows + [_memory(home, count, view) for view in ("index", "isolated")]


@contextmanager
def _place(quick: bool) -> Iterator[Path]:
    kept = os.environ.get("SLUICE_BENCH_DIR")
    if kept and not quick:
        yield Path(kept)
        return
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        yield Path(folder)


@contextmanager
def _runner(home: Path, index_view_from: int) -> Iterator[Runner]:
    with Runner.open(load_settings({"home": str(home), "engine": "process", "index_view_from": str(index_view_from)})) as runner:
        yield runner


class _Bench:
    """Two runners of one home, one that gives jobs a view of their own and one that shows them the store, and what is measured with them."""

    def __init__(self, isolated: Runner, index: Runner, place: Path, count: int) -> None:
        self._place, self._count, self._store = place, count, isolated._installation.home / "assets"
        self._isolated = _Job(isolated, _INFERENCE)
        self._index = _Job(index, _INFERENCE)
        self._training = _Job(isolated, _TRAINING) if count <= 100_000 else None
        self._version = isolated._installation.home / "datasets" / "many" / "V001"
        self._view = place / "cp"

    def rows(self, rounds: int) -> list[Row]:
        costs: dict[str, list[Cost]] = {}
        for _ in range(rounds):
            for name, cost in self._round():
                costs.setdefault(name, []).append(cost)
        pictures, copied = f"{self._count:,} pictures", f"{self._isolated.copied_bytes} bytes copied"
        found = [
            _row(f"index view of {pictures}, ready", costs, "index", "bare index"),
            _row(f"isolated view of {pictures}, ready, {copied}", costs, "isolated", "cp -al", ISOLATED_GOAL, {"plain copy": "copy"}),
            _row("the same, processor time", costs, "isolated", "cp -al", None, {"plain copy": "copy"}, cpu=True),
            _row("index view, processor time", costs, "index", "bare index", cpu=True),
            _row("teardown of the isolated view, until the job has ended", costs, "ended", "rm -rf"),
            _row("teardown of the isolated view, until all files are gone", costs, "gone", "rm -rf"),
        ]
        return found + ([_row(f"training on {pictures} with ARK files, ready", costs, "training", "bare files")] if self._training else [])

    def _round(self) -> Iterator[tuple[str, Cost]]:
        """All ways once, in turn: what else the machine does weighs on all of them."""
        yield "index", self._index.stage()
        yield "bare index", _cost(self._bare_index)
        yield "isolated", self._isolated.stage()
        yield from zip(("ended", "gone"), self._isolated.tear_down(), strict=True)
        yield "cp -al", self._link_with_cp()
        yield "rm -rf", cost_of_command(["rm", "-rf", self._view])
        yield "copy", self._copy()
        if self._training:
            yield "training", self._training.stage()
            self._training.tear_down()
            yield "bare files", self._bare_files()

    def _bare_index(self) -> None:
        ids = read_image_columns(self._version, ["asset_id"])["asset_id"].to_pylist()
        for folder in sorted(os.listdir(self._store)):  # noqa: PTH208
            os.listdir(self._store / folder)  # noqa: PTH208
        with (self._place / "index.tsv").open("w", encoding="ascii") as file:
            file.write("".join([f"{self._store}/{asset_id[-2:]}/{asset_id}.jpg\n" for asset_id in ids]))

    def _link_with_cp(self) -> Cost:
        self._view.mkdir()
        return cost_of_command(["sh", "-c", f'cd "$1" && ls | xargs -P{_AT_ONCE} -n8 cp -al -t "$2"', "sh", self._store, self._view])

    def _copy(self) -> Cost:
        files = sorted(path for folder in self._store.iterdir() for path in folder.iterdir())[: min(_COPIED, self._count)]
        self._view.mkdir()
        cost = _cost(lambda: [shutil.copyfile(file, self._view / file.name) for file in files])
        shutil.rmtree(self._view)
        factor = self._count / len(files)
        return Cost(cost.cpu_s * factor, cost.wall_s * factor)

    def _bare_files(self) -> Cost:
        """The links by cp, the annotations by open, write and close."""
        links = self._link_with_cp()
        written = self._place / "ark"
        names = [(folder.name, [path.stem for path in folder.iterdir()]) for folder in self._store.iterdir()]

        def write() -> None:
            for folder, stems in names:
                (written / folder).mkdir(parents=True)
                for stem in stems:
                    descriptor = os.open(f"{written}/{folder}/{stem}.txt", os.O_WRONLY | os.O_CREAT, 0o644)
                    os.write(descriptor, _ARK)
                    os.close(descriptor)

        files = _cost(write)
        shutil.rmtree(written)
        shutil.rmtree(self._view)
        return Cost(links.cpu_s + files.cpu_s, links.wall_s + files.wall_s)


class _Job:
    """A job that is staged again and again, without running."""

    def __init__(self, runner: Runner, spec: dict[str, Any]) -> None:
        self._installation = runner._installation
        self._job_id = runner.submit(JobSpec(**spec))["id"]
        self._run_dir = RunDir(self._installation.home / "runs" / self._job_id)

    def stage(self) -> Cost:
        with self._installation.database.reading() as session:
            job = jobs.get_job(session, self._job_id)
        attempt = Attempt(self._installation, job, Orders())
        return _cost(attempt._stage)

    @property
    def copied_bytes(self) -> int:
        """Of the pictures of one folder that are no links."""
        self.stage()
        folder = next((self._run_dir.in_dir / "assets").iterdir())
        copied = sum(facts.st_size for path in folder.iterdir() if (facts := path.stat()).st_nlink == 1)
        self.tear_down()
        return copied

    def tear_down(self) -> tuple[Cost, Cost]:
        """As when a job ended: how long it waits, and how long until nothing is left."""
        cpu, begin = time.process_time(), time.perf_counter()
        ended = _cost(lambda: self._run_dir.drop_inputs(self._installation.dropped))
        while any((self._installation.home / FOLDER).glob("*")):
            time.sleep(0.002)
        return ended, Cost(time.process_time() - cpu, time.perf_counter() - begin)


def _cost(call: Callable[[], object]) -> Cost:
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def _row(
    case: str,
    costs: dict[str, list[Cost]],
    ours: str,
    floor: str,
    goal: float | None = None,
    peers: dict[str, str] | None = None,
    *,
    cpu: bool = False,
) -> Row:
    """Medians; the ratio is the median over rounds."""
    values = {name: [cost.cpu_s if cpu else cost.wall_s for cost in found] for name, found in costs.items()}
    ratio = statistics.median(a / b for a, b in zip(values[ours], values[floor], strict=True))
    medians = {name: round(statistics.median(found), 6) for name, found in values.items()}
    shown = {word: medians[name] for word, name in (peers or {}).items()}
    return Row(case, medians[ours], medians[floor], "s", round(ratio, 4), goal, shown)


# ---------------------------------------------------------------------------------------------------------------- memory


def _memory(home: Path, count: int, view: str) -> Row:
    """The most memory that a process takes that does nothing but stage, beside one that stages one picture."""
    peaks = []
    for data in ("many", "one"):
        command = [sys.executable, "-m", "benchmarks.staging", str(home), view, data]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).resolve().parent.parent)
        peaks.append(json.loads(answer.stdout)["peak_bytes"] / 1024**2)
    return Row(
        f"{view} view of {count:,} pictures, peak memory", round(peaks[0], 1), round(peaks[1], 1), "MiB", round(peaks[0] / peaks[1], 3)
    )


def _stage_once(home: Path, view: str, data: str) -> None:
    """For a process of its own."""
    with _runner(home, int(view == "index")) as runner:
        job = _Job(runner, {**_INFERENCE, "data": data})
        job.stage()
        status = Path("/proc/self/status").read_text(encoding="ascii")
        peak = 1024 * int(status.partition("VmHWM:")[2].split()[0])  # not ru_maxrss, which holds what the parent had
        job.tear_down()
    print(json.dumps({"peak_bytes": peak}))


# ----------------------------------------------------------------------------------------------------------------- the home


def _home(home: Path, count: int) -> Path:
    """A home with the dataset ``many``, an image and a model of it; made once."""
    if not (home / "made").exists():
        shutil.rmtree(home, ignore_errors=True)
        with _runner(home, 0) as runner:
            runner.build_image(PROBE, name="probe")
            runner.link_images("probe", "probe")
            with tempfile.TemporaryDirectory(prefix="sluice-bench-") as scratch:
                make_digits(Path(scratch, "few"), train=3, val=2, pool=0, size=64)
                runner.import_dataset("few", Path(scratch, "few"))
            *_, job = runner.watch(runner.submit(JobSpec(kind="training", image="probe", train_data="few", name="model"))["id"])
            if job["state"] != "succeeded":
                raise RuntimeError(f"the model that is needed could not be made: {job['evidence']}")
            _add_dataset(runner, "many", count)
            _add_dataset(runner, "one", 1)
        (home / "made").touch()
    return home


def _add_dataset(runner: Runner, name: str, count: int) -> None:
    """Pictures of a few bytes with two boxes each, stored and registered as an import would; for a million an import would take an hour."""
    installation = runner._installation
    ids = sorted(hashlib.sha1(b"%d" % number, usedforsecurity=False).hexdigest() for number in range(count))
    _store(installation.home / "assets", ids)
    folder = installation.home / "datasets" / name / "V001"
    folder.mkdir(parents=True)
    write_tables(folder, _tables(ids))
    with installation.database.writing() as session:
        datasets.add_version(
            session,
            dataset=name,
            folder=str(folder.relative_to(installation.home)),
            image_count=count,
            annotation_count=2 * count,
            class_names=["thing"],
            splits={},
        )


def _store(folder: Path, ids: list[str]) -> None:
    for asset_id in ids:
        place = f"{folder}/{asset_id[-2:]}"
        if asset_id[-2:] not in _made:
            Path(place).mkdir(exist_ok=True)
            _made.add(asset_id[-2:])
        descriptor = os.open(f"{place}/{asset_id}.jpg", os.O_WRONLY | os.O_CREAT, 0o444)
        os.write(descriptor, asset_id.encode())
        os.close(descriptor)


_made: set[str] = set()


def _tables(ids: list[str]) -> Tables:
    count = len(ids)
    zeros = np.zeros(count, np.int32)
    known = {
        "asset_id": pa.array(ids),
        "extension": words(zeros, ["jpg"]),
        "width": np.full(count, 640, np.int32),
        "height": np.full(count, 480, np.int32),
        "size_bytes": np.full(count, 40),
        "name": [f"images/{number:08d}.jpg" for number in range(count)],
        "split": words(zeros, [""]),
        "state": words(zeros, ["labeled"]),
        "hard": np.zeros(count, bool),
        "hard_reasons": pa.repeat("", count),
    }
    images = pa.Table.from_arrays([known.get(field.name, pa.nulls(count, field.type)) for field in IMAGES], schema=IMAGES)
    twice = 2 * count
    drawn = {
        "image": np.repeat(np.arange(count, dtype=np.int32), 2),
        "class_name": words(np.zeros(twice, np.int32), ["thing"]),
        **{name: np.full(twice, value) for name, value in (("x", 10.0), ("y", 10.0), ("width", 50.0), ("height", 50.0))},
        "shape": words(np.zeros(twice, np.int32), ["box"]),
        **{name: np.zeros(twice, bool) for name in ("crowd", "difficult")},
        **{name: np.full(twice, value, np.float32) for name, value in (("quality", -1.0), ("angle", 0.0))},
        "annotated_by": words(np.zeros(twice, np.int32), [""]),
    }
    annotations = pa.Table.from_arrays([drawn.get(field.name, pa.nulls(twice, field.type)) for field in ANNOTATIONS], schema=ANNOTATIONS)
    return Tables(images, annotations)


if __name__ == "__main__":
    _stage_once(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
