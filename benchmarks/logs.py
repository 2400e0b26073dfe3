"""All lines of a finished container to one subscriber: our copy of its output and what is read from it, beside Docker's own ways.

``floor`` is docker-py's stream here, and the goal a tenth of its time: not the least that could do it, but what a runner would use otherwise.
The peer is the docker command. A run counts only when every byte came.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

from benchmarks.measure import Cost, Row, cost_of_call, cost_of_command
from contracts.seams import ContainerSpec
from plugins.engines.docker import DockerEngine
from plugins.engines.docker_spec import container_config
from runner.base_images import ensure_base
from runner.logs import LogCopy

IMAGE = "sluice/base:bookworm"
GOAL = 0.1
_LINE_BYTES = 100
_READ_BYTES = 1 << 20  # what Runner.read_job_log gives at a time


def run(*, quick: bool = False) -> list[Row]:
    """``quick`` measures just enough to see that it works."""
    lines, runs = (20_000, 1) if quick else (500_000, 5)
    engine = DockerEngine()
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as scratch, _finished(engine, lines, Path(scratch)) as container_id:
        rows = _measure(engine, container_id, Path(scratch), lines, runs)
    engine.close()
    return rows


def _measure(engine: DockerEngine, container_id: str, scratch: Path, lines: int, runs: int) -> list[Row]:
    client, log = docker.APIClient(version="auto", timeout=600), scratch / "container.log"
    ways: dict[str, Callable[[], Cost]] = {
        "ours": lambda: cost_of_call(lambda: _need(_copy_and_read(engine, container_id, log), lines)),
        "our log alone": lambda: cost_of_call(lambda: _need(_read(log), lines)),
        "docker-py": lambda: cost_of_call(lambda: _need(sum(map(len, client.logs(container_id, stream=True))), lines)),
        "docker logs": lambda: cost_of_command(["docker", "logs", container_id]),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():  # in turn: what else the machine does weighs on all of them
            costs[name].append(way())
    client.close()
    case = f"{lines:,} lines, {lines * _LINE_BYTES / 1e6:.0f} MB"
    return [*_rows(f"{case}, copied and read", "ours", costs), *_rows(f"{case}, read from our log", "our log alone", costs)]


def _rows(case: str, ours: str, costs: dict[str, list[Cost]]) -> Iterator[Row]:
    for name, word, goal in (("wall_s", "wall time", GOAL), ("cpu_s", "processor time of the subscriber", None)):
        values = {way: [getattr(cost, name) for cost in found] for way, found in costs.items()}
        ratios = [mine / theirs for mine, theirs in zip(values[ours], values["docker-py"], strict=True)]
        medians = {way: round(statistics.median(found), 4) for way, found in values.items()}
        peers = {"docker logs": medians["docker logs"]}
        yield Row(f"{case}, {word}", medians[ours], medians["docker-py"], "s", round(statistics.median(ratios), 4), goal, peers)


# ----------------------------------------------------------------------------------------------------------------- the ways


def _copy_and_read(engine: DockerEngine, container_id: str, log: Path) -> int:
    """From the engine's files into ours, made durable, and out of ours again."""
    log.unlink(missing_ok=True)
    log.with_name(f"{log.name}.cursor").unlink(missing_ok=True)
    LogCopy(engine, container_id, log).drain()
    return _read(log)


def _read(log: Path) -> int:
    """By byte offset, as a subscriber asks for it: each piece opens the file anew."""
    offset = 0
    while True:
        with log.open("rb") as file:
            file.seek(offset)
            data = file.read(_READ_BYTES)
        if not data:
            return offset
        offset += len(data)


def _need(byte_count: int, lines: int) -> None:
    if byte_count != lines * _LINE_BYTES:
        raise RuntimeError(f"{byte_count} bytes came instead of {lines * _LINE_BYTES}")


@contextmanager
def _finished(engine: DockerEngine, lines: int, scratch: Path) -> Iterator[str]:
    """A container that has written its lines and ended, with the log settings of every job."""
    facts = ensure_base(engine, IMAGE, scratch / "cache", print)
    for name in ("in", "out"):
        (scratch / name).mkdir()
    spec = ContainerSpec("", facts.digest, scratch / "in", scratch / "out", labels={"sluice.bench": "logs"})
    text = "x" * (_LINE_BYTES - len("000000000 \n"))
    config = {**container_config(spec, True), "Cmd": ["seq", "-f", f"%09.0f {text}", "0", str(lines - 1)]}
    client = docker.APIClient(version="auto")
    container_id: str = client.create_container_from_config(config)["Id"]
    try:
        engine.start(container_id)
        client.wait(container_id)
        yield container_id
    finally:
        client.remove_container(container_id, force=True, v=True)
        client.close()
