"""The example of docs/notes/hard-examples.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]


def test_the_example_of_the_note_runs_and_says_why() -> None:
    text = (ROOT / "docs" / "notes" / "hard-examples.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True, check=True)
    first, second, skipped = done.stdout.splitlines()
    assert first == "b.jpg 1.0 0 ['nothing was found in the picture']"
    assert second == "a.jpg 0.39 1 ['the confidence is low']"
    assert "there is no training data" in skipped
