"""Runs the scenario folders: what a person types, and everything the command line answers.

A scenario is a folder with

- ``script.txt``: one command per line, ``#`` begins a comment. ``# given: NAME`` starts where another scenario ended. ``$PROBE`` is the
  probe image's folder, ``$IMAGES`` that of the images we ship, ``$S3`` the endpoint of an S3 server with the bucket ``scenario``. Commands run in a
  folder of their own.
- ``input/``: files that lie in that folder at the start (optional).
- ``expected-stdout.txt``, ``expected-stderr.txt``: each command with its answer and its talk; ``[exit 3]`` when it did not end with 0.
- ``expected-tree.txt``: the files in the folder at the end (optional; what was put there from ``input/`` is left out).

What differs from run to run is replaced: job ids, times, digests, paths, sizes; several spaces become two; lines of progress are left out.
After a change that is wanted: ``UPDATE_EXPECTED=1 pytest tests/scenarios``, and read the difference.
"""

from __future__ import annotations

import io
import logging
import os
import re
import shlex
import shutil
import signal
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest

from runner.cli import LISTING, main
from runner.cli.commands import load_command
from runner.cli.job_blocks import STEP_WORDS
from runner.service import Runner
from runner.settings import load_settings

FOLDER = Path(__file__).resolve().parent
PROBE = FOLDER.parent / "images" / "probe"
IMAGES = FOLDER.parents[1] / "images"
SCENARIOS = sorted(script.parent.name for script in FOLDER.glob("*/script.txt"))


@dataclass
class World:
    """Where a scenario happens: a home, and the folder its commands run in."""

    path: Path
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.path / "home"

    @property
    def work(self) -> Path:
        return self.path / "work"

    def run(self, line: str) -> None:
        places = {"$PROBE": str(PROBE), "$IMAGES": str(IMAGES), "$S3": os.environ.get("S3", "")}
        program, *arguments = (re.sub(r"\$[A-Z0-9]+", lambda name: places.get(name[0], name[0]), word) for word in shlex.split(line))
        assert program == "sluice", line
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with redirect_stdout(out), redirect_stderr(err):
            status = main(arguments)
        for stream, transcript in ((out, self.stdout), (err, self.stderr)):
            text = stream.buffer.getvalue().decode()  # type: ignore[attr-defined]
            transcript.append(f"$ {line}\n{text}{f'[exit {status}]' if status else ''}".rstrip("\n") + "\n")


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Scenarios that others start from, by name, each run once."""
    return {"": tmp_path_factory.mktemp("worlds")}


@pytest.fixture(autouse=True)
def process_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLUICE_ENGINE", "process")
    monkeypatch.setenv("SLUICE_GPUS", "fake")
    monkeypatch.setenv("SLUICE_FAKE_GPUS", str(FOLDER / "gpus.json"))
    monkeypatch.setenv("SLUICE_POLL_INTERVAL_S", "0.05")
    monkeypatch.setenv("SLUICE_USAGE_INTERVAL_S", "0")
    monkeypatch.setenv("LOGNAME", "ada")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    ours = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    root.handlers[:], root.level = handlers, level
    for number, handler in ours.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_command_line_answers_as_the_scenario_says(
    name: str, worlds: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "$S3" in (FOLDER / name / "script.txt").read_text(encoding="utf-8"):
        monkeypatch.setenv("S3", endpoint_with_a_bucket(request.getfixturevalue("s3_server"), monkeypatch))
    world = played(name, worlds, tmp_path / "world")
    seen = {"expected-stdout.txt": "\n".join(world.stdout), "expected-stderr.txt": "\n".join(world.stderr)}
    if (FOLDER / name / "expected-tree.txt").exists():
        seen["expected-tree.txt"] = tree(name, world)
    for file, text in seen.items():
        check(FOLDER / name / file, steady(text, world, worlds[""]))


def endpoint_with_a_bucket(server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server's endpoint; the environment of boto3 says who asks."""
    server.client.create_bucket(Bucket="scenario")
    server.client.put_object(Bucket="scenario", Key="pictures/readme.txt", Body=b"no picture")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ada")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    return str(server.endpoint)


def played(name: str, worlds: dict[str, Path], path: Path) -> World:
    """The world after a scenario, which begins where its ``given`` ended."""
    script = (FOLDER / name / "script.txt").read_text(encoding="utf-8")
    given = re.search(r"^# given: (\S+)$", script, re.MULTILINE)
    world = World(path)
    if given:
        shutil.copytree(ended(given[1], worlds), path)
    else:
        world.home.mkdir(parents=True)
    world.work.mkdir(exist_ok=True)
    if (FOLDER / name / "input").is_dir():
        shutil.copytree(FOLDER / name / "input", world.work, dirs_exist_ok=True)
    play(world, [line for line in script.splitlines() if line.strip() and not line.startswith("#")])
    return world


def play(world: World, lines: list[str]) -> None:
    with pytest.MonkeyPatch.context() as here:
        here.setenv("SLUICE_HOME", str(world.home))
        here.chdir(world.work)
        for line in lines:
            world.run(line)


def ended(name: str, worlds: dict[str, Path]) -> Path:
    if name not in worlds:
        worlds[name] = played(name, worlds, worlds[""] / name).path
    return worlds[name]


#: How often a job is looked at decides which of these lines there are.
PROGRESS = rf"(?m)^<job \d+>  (waiting, .*|({'|'.join(STEP_WORDS.values())})(  .*)?)\n"


def steady(text: str, world: World, cache: Path) -> str:
    """The text with what differs from run to run replaced by its kind in <>."""
    text = text.replace(str(PROBE), "<probe>").replace(str(IMAGES), "<images>").replace(os.environ.get("S3") or "<s3>", "<s3>")
    for folder in (world.path, *(path for path in cache.iterdir())):
        text = text.replace(str(folder / "home"), "<home>").replace(str(folder / "work"), "<work>")
    for number, job in enumerate(job_ids(world), start=1):
        text = text.replace(job, f"<job {number}>")
    for pattern, kind in VOLATILE:
        text = re.sub(pattern, kind, text)
    return re.sub(r"(?<=\S)  +", "  ", text)


VOLATILE = (
    (PROGRESS, ""),
    (r"No such option:? '?(--\w+)'?", r"No such option '\1'"),
    (r"process 3\.\d+\.\d+ \(.*?\)", "process <versions>"),
    (r'"(python|bash)": "/[^"]*"', r'"\1": "<path>"'),
    (r"\b\d+ bytes\b", "<size>"),
    (r"sha256:[0-9a-f]{64}", "<digest>"),
    (r"\b[0-9a-f]{64}\b", "<sha256>"),
    (r"\b[0-9a-f]{40}\b", "<sha1>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", "<time>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "<time>"),
    (r"ended on \d{4}-\d\d-\d\d", "ended on <date>"),
    (r'"duration_s": [\d.]+', '"duration_s": <seconds>'),
    (r'"(timestamp|size_bytes|shm_bytes|memory_bytes|bytes|freed_bytes)": \d+', r'"\1": <number>'),
    (r"\b\d+(\.\d+)? (B|KiB|MiB|GiB)\b", "<size>"),
    (r"\ba\d{14}[0-9a-f]{4}\b", "<analysis>"),
    (r"\be[0-9a-f]{12}\b", "<evaluation>"),
    (r"\b\d\d:\d\d:\d\d\b", "<duration>"),
    (r"\b\d+\.\d s\b|\b\d+ s\b", "<duration>"),
)


def job_ids(world: World) -> list[str]:
    """In the order in which they are first mentioned."""
    said = "".join([*world.stdout, *world.stderr])
    with Runner.open(load_settings({"home": str(world.home)})) as runner:
        ids = [job["id"] for job in runner.list_jobs(limit=1000)["jobs"]]
    return sorted((job for job in ids if job in said), key=said.index)


def tree(name: str, world: World) -> str:
    given = {path.relative_to(FOLDER / name / "input") for path in (FOLDER / name / "input").rglob("*")}
    made = sorted(path.relative_to(world.work) for path in world.work.rglob("*"))
    return "".join(f"{path.as_posix()}\n" for path in made if path not in given)


def check(file: Path, text: str) -> None:
    if os.environ.get("UPDATE_EXPECTED"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_every_command_has_a_scenario_where_it_works_and_one_where_it_does_not() -> None:
    paths = command_paths()
    shown: dict[str, set[bool]] = {path: set() for path in paths}
    for file in FOLDER.glob("*/expected-stdout.txt"):
        for part in ("\n" + file.read_text(encoding="utf-8")).split("\n$ sluice ")[1:]:
            words = part.split("\n", 1)[0].split()
            path = next((path for path in (" ".join(words[:2]), words[0]) if path in shown), None)
            if path:
                shown[path].add("\n[exit " not in part)
    wanted = {path: {False} if path in ENDLESS else {True, False} for path in paths}
    assert {path: worked for path, worked in shown.items() if worked != wanted[path]} == {}


#: What works until somebody stops it is shown elsewhere: tests/runner/serving.
ENDLESS = ("serve",)


def command_paths() -> list[str]:
    paths = []
    for commands in LISTING.values():
        for name, (target, _) in commands.items():
            command = load_command(target)
            paths += [f"{name} {verb}" for verb in command.commands] if isinstance(command, click.Group) else [name]
    return paths
