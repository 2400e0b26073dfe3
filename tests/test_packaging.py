"""What a wheel of Sluice holds, and what setup.cfg promises of it."""

from __future__ import annotations

import configparser
import shutil
import socket
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from contracts.seams import GROUPS

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("analysis", "contracts", "plugins", "registry", "runner", "webui")
#: Files that are not Python and that the program reads or that type checkers look for.
DATA_FILES = {
    "analysis/evaluation/report.html",
    "analysis/py.typed",
    "analysis/report.html",
    "contracts/py.typed",
    "contracts/rpc/sluice.proto",
    "contracts/rpc/sluice_pb2.pyi",
    "runner/py.typed",
    "runner/default.cfg",
    "runner/gpus/xid.cfg",
}


def _settings() -> configparser.ConfigParser:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    return settings


def _packages_on_disk() -> set[str]:
    folders = {path.parent for room in ROOMS for path in (ROOT / room).rglob("*.py") if "__pycache__" not in path.parts}
    return {".".join(folder.relative_to(ROOT).parts) for folder in folders}


def test_every_package_is_listed_and_every_listed_package_is_there() -> None:
    assert set(_settings()["options"]["packages"].split()) == _packages_on_disk()


@pytest.mark.parametrize("group", [*GROUPS.values(), "console_scripts"])
def test_every_entry_point_loads(group: str) -> None:
    points = [point for point in distribution("sluice").entry_points if point.group == group]
    assert points, f"sluice declares nothing for {group}"
    assert all(callable(point.load()) for point in points)


def test_the_pythons_it_runs_on_are_stated_alike_everywhere() -> None:
    settings = _settings()
    stated = [line.rpartition(" ")[2] for line in settings["metadata"]["classifiers"].split("\n") if "Python :: 3." in line]
    assert stated == ["3.10", "3.11", "3.12", "3.13"]
    assert settings["options"]["python_requires"] == f">={stated[0]}"
    assert settings["mypy"]["python_version"] == stated[0]
    assert settings["ruff"]["target-version"] == '"py310"'


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in a wheel built from a copy of the sources, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ROOMS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(folder),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return set(zipfile.ZipFile(next(folder.glob("*.whl"))).namelist())


def test_a_wheel_holds_every_module_and_nothing_of_the_tests_images_or_scripts(wheel: set[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    packed = {name for name in wheel if ".dist-info/" not in name}
    assert packed - DATA_FILES == modules


def test_a_wheel_holds_the_files_that_the_program_reads(wheel: set[str]) -> None:
    assert wheel >= DATA_FILES
    assert any(name.startswith("registry/migrations/versions/") for name in wheel), "without migrations no database can be made"


def test_the_license_and_the_readme_travel_with_the_wheel(wheel: set[str]) -> None:
    assert any(name.endswith("LICENSE") for name in wheel)
    assert any(name.endswith(".dist-info/METADATA") for name in wheel)


# ---------------------------------------------------------------------------------------------------- the suite itself


def test_every_test_below_docker_is_marked_as_needing_docker() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "not docker", "tests/docker"]
    collected = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert collected.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, collected.stdout[-2000:]


def test_no_folder_of_tests_is_a_package_so_that_file_names_may_repeat() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("import tempfile; tempfile.mkdtemp(prefix='sluice-')", "temporary folder"),
        ("import subprocess; subprocess.Popen(['sleep', '7']).returncode = 0", "process"),
    ],
)
def test_a_session_that_leaves_something_behind_fails(tmp_path: Path, line: str, left: str) -> None:
    (tmp_path / "test_careless.py").write_text(f"def test_careless():\n    {line}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-c", "/dev/null", f"--rootdir={tmp_path}", str(tmp_path)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (answer.returncode, f"left behind:\n{left}" in answer.stdout) == (1, True), answer.stdout


def test_a_test_without_docker_cannot_reach_the_network() -> None:
    with pytest.raises(PermissionError, match="works without a network"), socket.create_connection(("192.0.2.1", 9), timeout=1):
        pass
