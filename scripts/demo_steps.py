"""The main job, step by step through the command line; called by scripts/demo.

Every step asks Sluice whether it is done before it does it, so that a second run, or one after an interruption, does only what is missing.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
SLUICE = Path(sys.executable).with_name("sluice")
SHEET = Path("demo-output/contact-sheet.png")
JOBS = ("digits-train", "digits-mine", "digits-infer")

console = Console(highlight=False)


@dataclass(frozen=True)
class Step:
    """One command of the demo, what it is for, how to see that it is done already, and the job it starts."""

    title: str
    command: str
    is_done: Callable[[], bool]
    job: str = ""


def main() -> int:
    os.chdir(ROOT)
    os.environ.setdefault("SLUICE_HOME", str(ROOT / ".sluice"))
    for number, step in enumerate(STEPS, 1):
        console.print(f"\n[bold]{number}. {step.title}[/]")
        if code := take(step):
            console.print(f"\n[bold red]The demo stopped here[/] with exit code {code}. Run scripts/demo again to go on.")
            return code
    show_results()
    return 0


def take(step: Step) -> int:
    """Runs the step's command unless it is done; its exit code, 0 when there was nothing to do."""
    if step.is_done():
        console.print(f"[dim]$ {step.command}   (done before)[/]", soft_wrap=True)
        return 0
    # A run that was interrupted leaves its job running: wait for it, do not start another.
    command = f"sluice job wait {step.job}" if step.job and job_state(step.job) in ("queued", "running") else step.command
    console.print(f"[bold cyan]$ {command}[/]", soft_wrap=True)
    ask.cache_clear()
    return subprocess.run([SLUICE, *shlex.split(command)[1:]], check=False).returncode


@cache
def ask(command: str) -> Any:
    """The answer of a ``sluice`` command as data, or None when it says no; asked again only after a command changed something."""
    answer = subprocess.run([SLUICE, *shlex.split(command), "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return json.loads(answer.stdout) if answer.returncode == 0 else None


# ---------------------------------------------------------------------------------------------------------------- steps


def image_is_ready() -> bool:
    return (ask("image show tinydet") or {}).get("state") == "ready"


def image_is_linked() -> bool:
    links = (ask("image show tinydet") or {}).get("links", [])
    return {link["kind"] for link in links if link["training_image"] == "tinydet"} >= {"mining", "inference"}


def dataset_is_there() -> bool:
    return ask("dataset show digits") is not None


def job_state(name: str) -> str:
    return str((ask(f"job show {name}") or {}).get("state", ""))


def sheet_is_drawn() -> bool:
    """Newer than the job it shows: a job that ran again is drawn again."""
    return SHEET.is_file() and Path(ask("job show digits-infer")["run_dir"], "job.json").stat().st_mtime < SHEET.stat().st_mtime


def job_step(title: str, command: str, name: str) -> Step:
    return Step(title, f"{command} --name {name}", lambda: job_state(name) == "succeeded", name)


STEPS = (
    Step("Build the demo image, a small detector, and register it", "sluice image build images/tinydet", image_is_ready),
    Step("State that it can mine and infer with the models it trains", "sluice image link tinydet tinydet", image_is_linked),
    Step("Make data: scenes of handwritten digits", "sluice dataset sample digits", dataset_is_there),
    job_step("Train, three minutes on two cores", "sluice train tinydet --data digits", "digits-train"),
    job_step(
        "Mine the pool for what is most worth labelling", "sluice mine --model digits-train --data digits:pool --top 20", "digits-mine"
    ),
    job_step("Predict", "sluice infer --model digits-train --data digits:val", "digits-infer"),
    Step("Draw what was predicted", f"sluice job sheet digits-infer {SHEET}", sheet_is_drawn),
)


# -------------------------------------------------------------------------------------------------------------- results


def show_results() -> None:
    table = Table("job", "kind", "state", "took", "result", title="The three jobs", title_justify="left")
    for name in JOBS:
        job = ask(f"job show {name}")
        table.add_row(name, job["kind"], job["state"], f"{job['duration_s'] or 0:.0f} s", result_text(job["kind"], job["result"]))
    console.print()
    console.print(table)
    console.print(f"Predicted boxes: {SHEET}")
    console.print(f"Go on with: [cyan]export SLUICE_HOME={os.environ['SLUICE_HOME']}; .venv/bin/sluice --help[/]", soft_wrap=True)


def result_text(kind: str, result: dict[str, Any]) -> str:
    """A job's result in one line."""
    if kind == "training":
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in list(result["metrics"].items())[:1])
        return f"{metrics} (stage {result['best_stage']})"
    if kind == "mining":
        first = result["top"][0]
        return f"{result['ranked']} ranked, {result['top_k'] or result['ranked']} kept, first {Path(first['name']).name}"
    return f"{result['boxes']} boxes in {result['images_with_boxes']} of {result['images']} images"


if __name__ == "__main__":
    sys.exit(main())
