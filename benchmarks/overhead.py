"""What a job adds to its container: a whole inference job of an image that does almost nothing, beside the engine's own calls for one.

Ours: submit to a service in this process, until its end is durable and its watcher has it; the container is removed after that. Floor: create,
wait, start and delete over the engine's socket, with the same configuration; a peer tells what it takes without the delete. Beside them
``docker run --rm`` and, with ``SLUICE_BENCH_OTHERS=1``, cwltool and mlcube from PyPI with a task of their own that does nothing; mlcube is 0.0.9,
its last release.

Processor time is that of the service's whole process, and of a command with its children: what the engine itself spends is nobody's here. The rows
of many at a time count until nothing of theirs is left on the engine.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.images import NO_OP, small_image
from benchmarks.measure import Cost, Row, cost_of_command
from contracts.job import JobSpec
from contracts.seams import ContainerSpec
from plugins.engines.docker_spec import container_config
from runner.samples import make_digits
from runner.serve import Service
from runner.settings import load_settings

PROBE = Path(__file__).resolve().parent.parent / "tests" / "images" / "probe"
WALL_GOAL, CPU_GOAL, RATE_GOAL = 1.03, 1.2, 1 / 0.95
_SPEC = {"kind": "inference", "image": "noop-bench", "model": "model", "data": "scenes:pool"}
_CONFINED = ["--network=none", "--init", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
_SETTLE_S = 0.3  # until what follows a job's end is over


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        scratch = Path(folder)
        with Service(load_settings({"home": f"{scratch}/home", "job_slots": "16"})) as service:
            bench = _Bench(service.runner, scratch)
            rows = bench.alone(1 if quick else 30)
            for at_once in (2,) if quick else (1, 2, 4, 8):
                rows.append(bench.many(at_once, jobs=4 if quick else 24, rounds=1 if quick else 5))
    return rows


class _Bench:
    """One service with an image, a model and data, and a folder with what a container of the image is given."""

    def __init__(self, runner: Any, scratch: Path) -> None:
        self._runner = runner
        self._scratch = scratch
        runner.build_image(PROBE, name="probe-bench")
        runner.build_image(small_image(scratch / "noop", NO_OP), name="noop-bench")
        runner.link_images("probe-bench", "noop-bench")
        make_digits(scratch / "scenes", train=5, val=5, pool=1, size=96)
        runner.import_dataset("scenes", scratch / "scenes")
        self._job(kind="training", image="probe-bench", train_data="scenes", name="model")
        self._digest = self._job(**_SPEC)["image"]["digest"]
        self._installation = (scratch / "home" / "installation").read_text(encoding="ascii")
        for name in ("in", "out"):
            (scratch / name).mkdir()
            (scratch / name).chmod(0o777)
        self._engine = _Socket()

    def _job(self, **spec: Any) -> dict[str, Any]:
        *_, job = self._runner.watch(self._runner.submit(JobSpec(**spec))["id"])
        if job["state"] != "succeeded":
            raise RuntimeError(f"the job that should be measured failed: {job['end_reason']}: {job['evidence']}")
        return dict(job)

    def _bare(self) -> float:
        """The engine's own part; what it took without the removal, in seconds."""
        spec = ContainerSpec("", self._digest, self._scratch / "in", self._scratch / "out", labels={"sluice.bench": "overhead"})
        return self._engine.run(container_config(spec, True))

    # --------------------------------------------------------------------------------------------------------- one at a time

    def alone(self, pairs: int) -> list[Row]:
        without_delete: list[float] = []
        ways: dict[str, Callable[[], Cost]] = {
            "ours": lambda: _cost(lambda: self._job(**_SPEC)),
            "engine": lambda: _cost(lambda: without_delete.append(self._bare())),
            "docker run": lambda: cost_of_command(self._docker_run()),
        }
        with self._others() as others:
            ways |= others
            costs = _in_turn(ways, pairs)
        walls = {way: [cost.wall_s for cost in found] for way, found in costs.items()}
        cpus = {way: [cost.cpu_s for cost in found] for way, found in costs.items()}
        walls["engine, no delete"] = without_delete[1:]
        return [
            _row("an inference job, wall time", walls, "engine", WALL_GOAL),
            _row("an inference job, wall time; the engine without its delete", walls, "engine, no delete", None),
            _row("an inference job, processor time; floor: docker run", cpus, "docker run", CPU_GOAL),
        ]

    def _docker_run(self) -> list[str]:
        volumes = ["-v", f"{self._scratch}/in:/in:ro", "-v", f"{self._scratch}/out:/out"]
        return ["docker", "run", "--rm", *_CONFINED, *volumes, self._digest]

    @contextmanager
    def _others(self) -> Iterator[dict[str, Callable[[], Cost]]]:
        """cwltool and mlcube, each with a task that does nothing; {} unless asked for. One that cannot be had is left out with a word."""
        if os.environ.get("SLUICE_BENCH_OTHERS") != "1":
            yield {}
            return
        ways = {}
        for make in (self._cwltool, self._mlcube):
            try:
                command = make(self._scratch / "others")
                cost_of_command(command)
                ways[make.__name__.strip("_")] = lambda command=command: cost_of_command(command)
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"{make.__name__.strip('_')} is left out: {error}", file=sys.stderr)
        yield ways

    def _cwltool(self, folder: Path) -> list[str]:
        python = _venv(folder / "cwltool", "cwltool")
        requirement = {"DockerRequirement": {"dockerImageId": self._digest, "dockerPull": self._digest}}
        tool = {"cwlVersion": "v1.2", "class": "CommandLineTool", "baseCommand": "true", "inputs": [], "outputs": []}
        (folder / "tool.cwl").write_text(json.dumps({**tool, "requirements": requirement}), encoding="utf-8")
        return [f"{python.parent}/cwltool", "--quiet", "--disable-pull", f"--outdir={folder}", f"{folder}/tool.cwl"]

    def _mlcube(self, folder: Path) -> list[str]:
        python = _venv(folder / "mlcube", "mlcube", "mlcube-docker", "setuptools<81")
        image = "sluice-bench/mlcube:noop"
        context = f'FROM {self._digest}\nENTRYPOINT ["true"]\n'.encode()
        subprocess.run(["docker", "build", "-q", "-t", image, "-"], input=context, check=True, capture_output=True)
        # cpu_args are what its `docker run` is given when no GPU is asked for; by itself it leaves every container behind.
        runner = {"image": image, "cpu_args": "--rm --network=none"}
        cube = {"docker": runner, "tasks": {"noop": {"parameters": {"inputs": {}, "outputs": {}}}}}
        (folder / "mlcube" / "workspace").mkdir(exist_ok=True)
        (folder / "mlcube" / "mlcube.yaml").write_text(json.dumps({"name": "noop", **cube}), encoding="utf-8")
        apart = ["env", f"MLCUBE_SYSTEM_SETTINGS={folder}/mlcube.settings.yaml"]  # not in the home of whoever measures
        return [*apart, f"{python.parent}/mlcube", "run", f"--mlcube={folder}/mlcube", "--task=noop", "--platform=docker"]

    # --------------------------------------------------------------------------------------------------------- many at a time

    def many(self, at_once: int, jobs: int, rounds: int) -> Row:
        """Seconds for each job while so many are in flight."""
        ours = f"sluice.installation={self._installation}"
        with ThreadPoolExecutor(at_once) as pool:
            ways: dict[str, Callable[[], Cost]] = {
                "ours": lambda: _cost(lambda: self._all(pool, lambda: self._job(**_SPEC), jobs, ours)),
                "engine": lambda: _cost(lambda: self._all(pool, self._bare, jobs, "sluice.bench=overhead")),
            }
            costs = _in_turn(ways, rounds)
        seconds = {way: [cost.wall_s / jobs for cost in found] for way, found in costs.items()}
        return _row(f"{at_once} in flight, time for each", seconds, "engine", RATE_GOAL)

    def _all(self, pool: ThreadPoolExecutor, action: Callable[[], object], jobs: int, label: str) -> None:
        for done in [pool.submit(action) for _ in range(jobs)]:
            done.result()
        while self._engine.count(label):
            time.sleep(0.01)


class _Socket:
    """The engine's API with a kept connection for each thread, and one for its waits: the least that can be asked."""

    def __init__(self) -> None:
        self._threads = threading.local()

    def run(self, config: dict[str, Any]) -> float:
        """A container from create to delete; the seconds until its end was known."""
        begin = time.perf_counter()
        container = json.loads(self._ask("POST", "/containers/create", config))["Id"]
        waiting = self._connection("waits")
        waiting.request("POST", f"/v1.41/containers/{container}/wait?condition=next-exit")
        answer = waiting.getresponse()
        self._ask("POST", f"/containers/{container}/start")
        status = json.loads(answer.read())["StatusCode"]
        ended_s = time.perf_counter() - begin
        self._ask("DELETE", f"/containers/{container}")
        if status:
            raise RuntimeError(f"the container that should be measured ended with {status}")
        return ended_s

    def count(self, label: str) -> int:
        """The containers with this label, running or not."""
        return len(json.loads(self._ask("GET", f'/containers/json?all=1&filters={{"label":["{label}"]}}')))

    def _ask(self, method: str, path: str, body: Any = None) -> bytes:
        connection = self._connection("calls")
        connection.request(method, f"/v1.41{path}", None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {content.decode()}")
        return content

    def _connection(self, purpose: str) -> http.client.HTTPConnection:
        if not hasattr(self._threads, purpose):
            setattr(self._threads, purpose, _UnixConnection("localhost"))
        connection: http.client.HTTPConnection = getattr(self._threads, purpose)
        return connection


class _UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")


def _cost(action: Callable[[], object]) -> Cost:
    """Wall time of the action; processor time of this process until what follows is over too."""
    cpu, begin = time.process_time(), time.perf_counter()
    action()
    wall_s = time.perf_counter() - begin
    time.sleep(_SETTLE_S)
    return Cost(time.process_time() - cpu, wall_s)


def _in_turn(ways: dict[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """A B C A B C: what else the machine does weighs on all of them. One of each goes before and is not counted."""
    costs: dict[str, list[Cost]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, measure in ways.items():
            cost = measure()
            if number:
                costs[way].append(cost)
    return costs


def _row(case: str, values: dict[str, list[float]], floor: str, goal: float | None) -> Row:
    """Medians; the ratio is the median over pairs."""
    medians = {way: round(statistics.median(found), 5) for way, found in values.items()}
    ratio = statistics.median(ours / least for ours, least in zip(values["ours"], values[floor], strict=True))
    peers = {way: median for way, median in medians.items() if way not in ("ours", floor)}
    return Row(case, medians["ours"], medians[floor], "s", round(ratio, 4), goal, peers)


def _venv(folder: Path, *requirements: str) -> Path:
    """The python of a new virtual environment with these packages."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", *requirements], check=True, capture_output=True)
    return python
