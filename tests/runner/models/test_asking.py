"""What bare weights do not tell is asked for on a terminal, and only there."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

COMMAND = "import sys; from runner.cli import main; sys.exit(main(sys.argv[1:]))"


def test_missing_facts_are_typed_in_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"weights")
    ours, theirs = pty.openpty()
    words = ["model", "import", "bare", str(tmp_path / "best.pt"), "--engine", "process"]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    os.close(theirs)
    os.write(ours, b"cat, dog\n\n")
    out, err = process.communicate(timeout=120)
    os.close(ours)
    assert process.returncode == 0, err
    assert "Classes, in the order of their ids" in err
    assert "cat, dog" in out
    assert "detection" in out


def test_a_program_is_told_what_is_missing_and_not_asked(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"weights")
    words = ["model", "import", "bare", str(tmp_path / "best.pt"), "--engine", "process", "--json"]
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert '"missing": [' in done.stdout + done.stderr
