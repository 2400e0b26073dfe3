"""docs/reference says what the commands and the settings say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "reference" / "cli.md"


def test_the_pages_are_what_the_generator_writes_now() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "generate-docs"), "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "docs/reference/cli.md is fresh\ndocs/reference/settings.md is fresh\n")


def test_the_page_names_every_exit_status_and_the_completion_of_three_shells() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"\n| {status} |" in text for status in (0, 1, 2, 3, 4, 5, 70, 130))
    assert all(f"{shell}_source sluice" in text for shell in ("bash", "zsh", "fish"))


def test_every_link_of_the_page_leads_to_a_heading() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    anchors = {line.removeprefix("## ").lower().replace(" ", "-") for line in lines if line.startswith("## ")}
    links = [line.partition("](#")[2].partition(")")[0] for line in lines if "](#" in line]
    assert len(links) > 20
    assert set(links) <= anchors
