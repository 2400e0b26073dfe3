"""What the README tells a newcomer to type is typed here, in its order, against real containers; what it says it prints is compared."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
pytestmark = [pytest.mark.docker, pytest.mark.slow]


def commands_below(heading: str) -> list[str]:
    """The commands of the first shell block below a heading, without their comments."""
    block = README.split(f"## {heading}\n")[1].split("```sh\n")[1].split("```")[0]
    return [command for line in block.splitlines() if (command := line.split("  #")[0].strip())]


class Newcomer:
    """A shell in a clone that the demo has set up, with a home and a working folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        (folder / "images").symlink_to(ROOT / "images")
        path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
        self.environment = {**os.environ, "SLUICE_HOME": str(self.home), "PATH": path, "COLUMNS": "100"}

    def run(self, command: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            shlex.split(command), cwd=cwd or self.folder, env=self.environment, capture_output=True, text=True, timeout=1500, check=False
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def ask(self, command: str) -> Any:
        return json.loads(self.run(f"{command} --json"))


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    return Newcomer(tmp_path_factory.mktemp("newcomer"))


@pytest.fixture(scope="module")
def demo_output(newcomer: Newcomer) -> str:
    return newcomer.run("scripts/demo", cwd=ROOT)


def test_the_demo_trains_a_detector_that_finds_most_digits(newcomer: Newcomer, demo_output: str) -> None:
    job = newcomer.ask("sluice job show digits-train")
    assert (job["state"], job["warnings"]) == ("succeeded", [])
    assert job["result"]["metrics"]["mAP"] >= 0.80


def test_the_demo_prints_the_table_that_the_readme_shows(demo_output: str) -> None:
    shown = README.split("The three jobs\n")[1].split("```")[0]
    for row in re.findall(r"(digits-\w+) │ (\w+) +│ (\w+)", shown):
        assert re.search(r"{} +│ {} +│ {}".format(*row), demo_output)
    assert "Predicted boxes: demo-output/contact-sheet.png" in shown
    assert "Predicted boxes: demo-output/contact-sheet.png" in demo_output


def test_the_demo_draws_a_contact_sheet(demo_output: str) -> None:
    with Image.open(ROOT / "demo-output" / "contact-sheet.png") as sheet:
        assert sheet.width > 1000
        assert len(sheet.convert("RGB").getcolors(1 << 24) or ()) > 200


def test_the_demo_run_again_changes_nothing(newcomer: Newcomer, demo_output: str) -> None:
    def facts() -> set[tuple[str, int]]:
        kept = [path for part in ("models", "datasets", "runs", "assets") for path in (newcomer.home / part).rglob("*")]
        return {(str(path), path.stat().st_mtime_ns) for path in kept if path.is_file() and path.name != "lock"}

    before, jobs = facts(), newcomer.ask("sluice job list")["total"]
    assert newcomer.run("scripts/demo", cwd=ROOT).count("(done before)") == 7
    assert (facts(), newcomer.ask("sluice job list")["total"]) == (before, jobs)


def test_a_working_day_goes_as_the_readme_says(newcomer: Newcomer, demo_output: str) -> None:
    for command in commands_below("A working day"):
        newcomer.run(command)
    assert (newcomer.folder / "look.png").is_file()
    assert (newcomer.folder / "digits.tar.gz").stat().st_size > 10_000


def test_an_image_is_written_as_the_readme_says(newcomer: Newcomer, demo_output: str) -> None:
    for command in commands_below("Write an image"):
        newcomer.run(command)
    job = newcomer.ask("sluice job show second")
    assert (job["state"], job["engine"], job["warnings"]) == ("succeeded", "docker", [])


def test_continuous_integration_runs_the_second_command() -> None:
    assert "scripts/test     #" in README
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1].startswith('exec "$(dirname')


def test_the_two_commands_with_their_output_stand_before_line_40() -> None:
    head = README.splitlines()[:40]
    assert "scripts/demo" in "\n".join(head)
    assert "Predicted boxes: demo-output/contact-sheet.png" in head
