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
    """One command of the demo, why it is run, and how to see that it is done already."""

    title: str
    command: str
    is_done: Callable[[], bool]


def main() -> int:
    os.chdir(ROOT)
    os.environ.setdefault("SLUICE_HOME", str(ROOT / ".sluice"))
    for number, step in enumerate(STEPS, 1):
        code = take(number, step)
        if code:
            console.print(
                f"\n[bold red]The demo stopped[/] at `{step.command}` (exit code {code}). Run scripts/demo again to go on from here."
            )
            return code
    show_results()
    return 0


def take(number: int, step: Step) -> int:
    """Runs the step's command unless it is done; its exit code, 0 when there was nothing to do."""
    console.print(f"\n[bold]{number}. {step.title}[/]")
    if step.is_done():
        console.print(f"[dim]$ {step.command}   (done before)[/]")
        return 0
    console.print(f"[bold cyan]$ {step.command}[/]")
    sys.stdout.flush()
    return subprocess.run([SLUICE, *shlex.split(step.command)[1:]], check=False).returncode


def ask(command: str) -> Any:
    """The answer of a ``sluice`` command as data, or None when it says no."""
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


def job_has_succeeded(name: str) -> Callable[[], bool]:
    return lambda: (ask(f"job show {name}") or {}).get("state") == "succeeded"


def sheet_is_drawn() -> bool:
    """Newer than the job it shows: a job that ran again is drawn again."""
    return SHEET.is_file() and Path(ask("job show digits-infer")["run_dir"], "job.json").stat().st_mtime < SHEET.stat().st_mtime


STEPS = (
    Step("Build the demo image, a small detector, and register it", "sluice image build images/tinydet", image_is_ready),
    Step("State that it can mine and infer with the models it trains", "sluice image link tinydet tinydet", image_is_linked),
    Step("Make data: scenes of handwritten digits", "sluice dataset sample digits", dataset_is_there),
    Step("Train", "sluice train tinydet --data digits --name digits-train", job_has_succeeded("digits-train")),
    Step(
        "Mine the pool for the scenes most worth labelling",
        "sluice mine --model digits-train --data digits:pool --top 20 --name digits-mine",
        job_has_succeeded("digits-mine"),
    ),
    Step("Predict", "sluice infer --model digits-train --data digits:val --name digits-infer", job_has_succeeded("digits-infer")),
    Step("Draw what was predicted", f"sluice job sheet digits-infer {SHEET}", sheet_is_drawn),
)


# -------------------------------------------------------------------------------------------------------------- results


def show_results() -> None:
    table = Table("job", "kind", "state", "took", "result", title="\nThe three jobs", title_justify="left")
    for name in JOBS:
        job = ask(f"job show {name}")
        table.add_row(name, job["kind"], job["state"], f"{job['duration_s'] or 0:.0f} s", result_text(job["kind"], job["result"]))
    console.print(table)
    console.print(f"Predicted boxes: {SHEET}\nGo on: [cyan].venv/bin/sluice --help[/], with SLUICE_HOME={os.environ['SLUICE_HOME']}")


def result_text(kind: str, result: dict[str, Any]) -> str:
    """A job's result in one line."""
    if kind == "training":
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in result["metrics"].items())
        return f"model {result['model']}, stage {result['best_stage']}: {metrics}"
    if kind == "mining":
        first = result["top"][0]
        score = "" if first["score"] is None else f" ({first['score']:.3f})"
        return f"{result['ranked']} ranked, first {result['top_k'] or result['ranked']} kept; most worth labelling: {first['name']}{score}"
    return f"{result['boxes']} boxes in {result['images_with_boxes']} of {result['images']} images"


if __name__ == "__main__":
    sys.exit(main())
