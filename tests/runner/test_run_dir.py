from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from runner.run_dir import RunDir, write_atomically


def test_only_one_holder_drives_a_job(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "t1")
    with run_dir.driving() as first, run_dir.driving() as second:
        assert (first, second) == (True, False)
        assert run_dir.is_driven()
    assert not run_dir.is_driven()


def test_a_driver_that_is_killed_lets_go(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "t1")
    code = (
        "import sys; from pathlib import Path; from runner.run_dir import RunDir\n"
        "with RunDir(Path(sys.argv[1])).driving() as taken: print(taken, flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(run_dir.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert run_dir.is_driven()
        process.kill()
    assert not run_dir.is_driven()


def test_the_tail_is_the_last_lines_and_survives_broken_utf8(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.log_file.write_bytes(b"one\ntwo \xff\nthree\n")
    assert run_dir.log_tail(2) == ("two \ufffd", "three")


def test_the_tail_of_a_huge_line_reads_a_bounded_part(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.log_file.write_bytes(b"x" * 1_000_000)
    assert len(run_dir.log_tail(5)[0]) == 65536


def test_a_job_without_output_has_no_tail(tmp_path: Path) -> None:
    assert RunDir(tmp_path).log_tail(5) == ()


def test_an_atomic_write_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", json.dumps({"a": 1}).encode())
    write_atomically(tmp_path / "a.json", json.dumps({"a": 2}).encode())
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("a.json", '{"a": 2}')]
