"""Imports by several processes: at once, and killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from plugins.stores.local import LocalStore
from registry import datasets
from registry.database import Database
from runner.dataset_files import read_samples
from runner.samples import make_digits

IMPORT = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from plugins.formats.voc import VocFormat
    from plugins.stores.local import LocalStore
    from registry.database import Database
    from runner.datasets import import_dataset

    home, source, name, stop_at = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])

    def on_progress(done, total):
        if done == stop_at:
            print("here", flush=True)
            sys.stdin.read()

    with Database.open(home / "sluice.db") as database:
        report = import_dataset(name, source, formats={"voc": VocFormat()}, store=LocalStore(home / "assets"), database=database, home=home,
                                on_progress=on_progress)
        print(report["version"], report["unchanged"])
    """
)


def _start(home: Path, source: Path, name: str = "digits", stop_at: int = -1) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", IMPORT, str(home), str(source), name, str(stop_at)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _answer(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return output.strip()


def test_two_imports_of_different_data_at_once_get_different_versions(tmp_path: Path, home: Path, database: Database) -> None:
    sources = [make_digits(tmp_path / str(seed), train=20, val=0, seed=seed) for seed in (1, 2)]
    processes = [_start(home, source) for source in sources]
    assert sorted(_answer(process) for process in processes) == ["V001 False", "V002 False"]
    with database.reading() as session:
        versions = datasets.list_versions(session, "digits")
    for version in versions:
        assert len(read_samples(home / version.folder, LocalStore(home / "assets"))) == 20


def test_two_imports_of_the_same_data_at_once_make_one_version(tmp_path: Path, home: Path, database: Database) -> None:
    source = make_digits(tmp_path / "digits", train=20, val=0)
    processes = [_start(home, source) for _ in range(2)]
    assert sorted(_answer(process) for process in processes) == ["V001 False", "V001 True"]


def test_an_import_killed_in_the_middle_leaves_no_version_and_the_next_one_succeeds(tmp_path: Path, home: Path, database: Database) -> None:
    source = make_digits(tmp_path / "digits", train=20, val=0)
    process = _start(home, source, stop_at=10)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with database.reading() as session:
        assert datasets.find_version(session, "digits") is None
    assert not (home / "datasets").exists()
    assert _answer(_start(home, source)) == "V001 False"
    assert list((home / "tmp").iterdir()) == []
