"""Pictures are taken in by threads or by processes, with the same result."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import DatasetError, UnavailableError
from contracts.seams import not_located
from plugins.stores.local import LocalStore
from runner import intake
from runner.intake import Intake, PictureRules
from runner.samples import make_digits

RunImport = Callable[..., dict[str, Any]]


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Twenty pictures, one of them cut short, one of them no picture, and one that is there twice."""
    folder = make_digits(tmp_path / "digits", train=14, val=6)
    first, second, third = sorted(folder.rglob("*.jpg"))[:3]
    first.write_bytes(first.read_bytes()[:300])
    second.write_text("no picture")
    (third.parent / "zzz.jpg").write_bytes(third.read_bytes())
    return folder


@pytest.fixture
def by_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MANY", 1)
    monkeypatch.setattr(intake, "_BATCH", 3)


def test_processes_report_what_threads_report(scenes: Path, run_import: RunImport, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_threads = run_import(scenes, name="one")
    monkeypatch.setattr(intake, "MANY", 1)
    monkeypatch.setattr(intake, "_BATCH", 3)
    by_processes = run_import(scenes, name="other")
    own = ("dataset", "folder", "report_file")
    assert {k: v for k, v in by_processes.items() if k not in own} == {k: v for k, v in by_threads.items() if k not in own}
    assert [skip["what"] for skip in by_threads["skipped"]] == ["image", "image", "image"]
    assert not list((home / "assets" / ".incoming").iterdir())


@pytest.mark.parametrize("expected", [1, intake.MANY])
def test_what_becomes_of_each_picture_is_told_in_their_order(scenes: Path, store: LocalStore, expected: int) -> None:
    paths = sorted(scenes.rglob("*.jpg"))
    with Intake(store, not_located, PictureRules(), expected) as taking:
        taken = taking.submit(paths).result()
    assert [type(found) for found in taken[:2]] == [DatasetError, DatasetError]
    assert [found[0].size_bytes for found in taken[2:] if isinstance(found, tuple)] == [path.stat().st_size for path in paths[2:]]


def test_an_address_is_fetched_in_the_process_that_can(scenes: Path, store: LocalStore, by_processes: None) -> None:
    paths = sorted(scenes.rglob("*.jpg"))
    with Intake(store, lambda address: paths[int(address)], PictureRules(), 5) as taking:
        (found,) = taking.submit(["4"]).result()
    assert isinstance(found, tuple)
    assert store.find(found[0].id, "jpg") is not None


def test_the_rules_count_in_processes_too(scenes: Path, store: LocalStore, by_processes: None) -> None:
    with Intake(store, not_located, PictureRules(largest_bytes=100), 5) as taking:
        taken = taking.submit(sorted(scenes.rglob("*.jpg"))[4:6]).result()
    assert [found.message for found in taken if isinstance(found, DatasetError)] == [
        "is larger than 100 bytes, the limit max_picture_bytes"
    ] * 2


def test_a_store_that_cannot_be_sent_to_a_process_is_used_by_threads(scenes: Path, home: Path, by_processes: None) -> None:
    class Connected(LocalStore):
        def __init__(self, folder: Path) -> None:
            super().__init__(folder)
            self.connection = threading.Lock()

    with Intake(Connected(home / "assets"), not_located, PictureRules(), 5) as taking:
        assert isinstance(taking.submit(sorted(scenes.rglob("*.jpg"))[5:6]).result()[0], tuple)


def test_a_process_that_is_killed_ends_the_import_with_its_reason_and_nothing_is_made(
    scenes: Path, run_import: RunImport, home: Path, by_processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = popen(*arguments, **options)
        process.kill()
        started.append(process)
        return process

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(UnavailableError, match="ended in the middle"):
        run_import(scenes)
    assert len(started) >= 2
    assert not list((home / "datasets").rglob("V*"))


def test_a_full_disk_seen_by_a_process_is_the_error_of_the_import(
    scenes: Path, run_import: RunImport, home: Path, by_processes: None
) -> None:
    (home / "assets").write_text("a file where the folder should be")
    with pytest.raises(UnavailableError, match="assets"):
        run_import(scenes)


KILLED = textwrap.dedent(
    """
    import json, sys, time
    from pathlib import Path
    from contracts.seams import not_located
    from plugins.stores.local import LocalStore
    from runner.intake import MANY, Intake, PictureRules

    with Intake(LocalStore(Path(sys.argv[1])), not_located, PictureRules(), MANY) as taking:
        taking.submit([Path(sys.argv[2])]).result()
        print(json.dumps([worker._process.pid for worker in taking._workers]), flush=True)
        time.sleep(60)
    """
)


def test_processes_end_when_the_one_they_work_for_is_killed(scenes: Path, home: Path) -> None:
    picture = sorted(scenes.rglob("*.jpg"))[4]
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(home / "assets"), str(picture)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    workers = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 20
    while any(_is_alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in workers if _is_alive(pid)] == []


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_process_that_nobody_can_start_leaves_none_behind(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nothing/python")
    before = _open_files()
    with pytest.raises(UnavailableError, match="cannot be started"):
        Intake(store, not_located, PictureRules(), intake.MANY)
    assert _open_files() <= before
