"""What a job had goes when it has ended: at once where it is little, in the background where it is much, and whoever is killed meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runner import dropped as module
from runner.dropped import FOLDER, Dropped
from runner.run_dir import RunDir
from runner.service import Runner
from runner.settings import load_settings


def _view(home: Path, folders: int = 100, files: int = 3) -> RunDir:
    run_dir = RunDir(home / "runs" / "m1")
    for number in range(folders):
        folder = run_dir.in_dir / "assets" / f"{number:02x}"
        folder.mkdir(parents=True)
        for name in range(files):
            (folder / f"{name}.jpg").touch()
    (run_dir.in_dir / "config.yaml").touch()
    return run_dir


def _gone(home: Path) -> bool:
    end = time.monotonic() + 20
    while list((home / FOLDER).glob("*")) and time.monotonic() < end:
        time.sleep(0.01)
    return not list((home / FOLDER).glob("*"))


@pytest.mark.parametrize("folders", [1, 200])
def test_a_view_goes_and_the_files_beside_it_stay(folders: int, tmp_path: Path) -> None:
    dropped = Dropped(tmp_path)
    run_dir = _view(tmp_path, folders)
    run_dir.drop_inputs(dropped)
    assert [path.name for path in run_dir.in_dir.iterdir()] == ["config.yaml"]
    run_dir.drop_inputs(dropped)
    assert _gone(tmp_path)
    dropped.close()
    assert "dropped" not in [thread.name for thread in threading.enumerate()]


def test_the_end_of_a_job_does_not_wait_for_the_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    going, let_go = threading.Event(), threading.Event()

    def remove(folder: Path, _stop: object) -> None:
        going.set()
        let_go.wait(20)
        folder.rmdir() if not list(folder.iterdir()) else real(folder, lambda: False)

    real = module._remove
    monkeypatch.setattr(module, "_remove", remove)
    dropped = Dropped(tmp_path)
    _view(tmp_path).drop_inputs(dropped)
    assert going.wait(20)
    other = tmp_path / "runs" / "m2" / "in" / "assets"
    for number in range(100):
        (other / str(number)).mkdir(parents=True)
    dropped.drop(other)  # while the first is being removed
    assert not other.exists()
    let_go.set()
    assert _gone(tmp_path)
    dropped.close()


def test_a_process_that_ends_leaves_the_rest_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    monkeypatch.setattr(module.shutil, "rmtree", lambda *_a, **_n: begun.set() or time.sleep(0.2))
    dropped = Dropped(tmp_path)
    _view(tmp_path).drop_inputs(dropped)
    assert begun.wait(20)
    dropped.close(wait_s=0.0)
    monkeypatch.undo()
    assert len(list((tmp_path / FOLDER).iterdir())) == 1
    after = Dropped(tmp_path)
    after.resume()
    assert _gone(tmp_path)
    after.close()


def test_what_a_killed_process_dropped_goes_with_the_next_runner_or_gc(tmp_path: Path) -> None:
    home = tmp_path / "home"
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from runner import dropped\n"
        "from tests.runner.test_dropped import _view\n"
        "dropped._remove = lambda folder, stop: os.kill(os.getpid(), signal.SIGKILL)\n"
        "_view(Path(sys.argv[1])).drop_inputs(dropped.Dropped(Path(sys.argv[1])))\n"
        "signal.pause()\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for remove in (
        lambda runner: runner._installation.start_helpers(),
        lambda runner: runner.gc(dry_run=False),
    ):
        done = subprocess.run([sys.executable, "-c", code, str(home)], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == -9, done.stderr
        assert len(list((home / FOLDER).iterdir())) == 1
        with Runner.open(load_settings({"home": str(home), "engine": "process"})) as runner:
            remove(runner)
            assert _gone(home)


def test_no_link_is_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    run_dir = _view(tmp_path)
    (run_dir.in_dir / "assets" / "link").symlink_to(precious)
    (run_dir.in_dir / "assets" / "00" / "link").symlink_to(precious)
    (run_dir.in_dir / "models").symlink_to(precious)
    dropped = Dropped(tmp_path)
    run_dir.drop_inputs(dropped)
    (tmp_path / FOLDER / "link").symlink_to(precious)
    dropped.resume()
    assert _gone(tmp_path)
    dropped.close()
    assert (precious / "file").exists()
