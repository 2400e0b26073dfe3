"""A command that waits is a guest: it may leave, be hung up or read by half, and the job goes on."""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from runner.cli import main
from runner.service import Runner
from runner.settings import load_settings

ROOT = Path(__file__).resolve().parents[3]
SCENES = ROOT / "tests" / "scenarios" / "first-steps" / "input" / "scenes"
PROBE = ROOT / "tests" / "images" / "probe"
SLUICE = (sys.executable, "-c", "import sys; from runner.cli import main; sys.exit(main())")


def document(*arguments: str) -> Any:
    """What a command answers with --json. In this process, which has imported everything already."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        main([*arguments, "--json"])
    return json.loads(out.getvalue())


@pytest.fixture(autouse=True)
def signals_of_a_terminal() -> Iterator[None]:
    """Commands inherit what a terminal gives, also where the tests themselves run in the background or under nohup."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("prepared") / "home"
    with Runner.open(load_settings({"home": str(home), "engine": "process"})) as runner:
        runner.build_image(PROBE, name="probe")
        runner.import_dataset("scenes", SCENES)
    return home


@pytest.fixture
def scenes(prepared_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home with the probe image and a dataset; whatever job still runs at the end is cancelled."""
    shutil.copytree(prepared_home, tmp_path / "home")
    given = {"home": str(tmp_path / "home"), "engine": "process", "gpus": "fake", "stop_grace_s": "1", "poll_interval_s": "0.1"}
    for name, value in given.items():
        monkeypatch.setenv(f"SLUICE_{name.upper()}", value)
    yield
    with Runner.open(load_settings()) as runner:
        for job in runner.list_jobs(states=["running", "queued"])["jobs"]:
            runner.cancel_job(job["id"])


def waiting(*arguments: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A command that waits for a hanging job, once the job runs."""
    hanging = ("train", "probe", "--data", "scenes", "--name", "slow", "--set", "behaviour=hang")
    process = subprocess.Popen(
        [*before, *SLUICE, *hanging, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.endswith("  running\n"):
            return process
    raise AssertionError("the job never ran")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_who_leaves_hears_how_to_come_back_and_the_job_goes_on(scenes: None, number: signal.Signals) -> None:
    process = waiting()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    job = document("job", "show", "slow")
    assert (process.returncode, out) == (130, "")
    assert err.endswith(f"Job {job['id']} goes on. Come back: sluice job wait {job['id']}   Stop it: sluice job cancel {job['id']}\n")
    assert job["state"] == "running"
    assert document("job", "cancel", "slow")["state"] == "cancelled"


def test_who_ignores_hangups_goes_on_waiting(scenes: None) -> None:
    process = waiting(before=("nohup",))
    process.send_signal(signal.SIGHUP)
    assert document("job", "cancel", "slow")["state"] == "cancelled"
    assert "was cancelled" in process.communicate(timeout=60)[1]


def test_with_json_who_leaves_gets_one_document(scenes: None) -> None:
    process = waiting("--json")
    process.send_signal(signal.SIGINT)
    error = json.loads(process.communicate(timeout=60)[0])["error"]
    assert (process.returncode, error["code"], list(error["fields"])) == (130, "interrupted", ["job"])


def test_who_waits_for_a_job_that_another_cancels_gets_the_reason(scenes: None) -> None:
    process = waiting()
    assert document("job", "cancel", "slow")["state"] == "cancelled"
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "was cancelled" in err


def test_a_detached_job_runs_by_itself_and_can_be_followed(scenes: None) -> None:
    job = document("train", "probe", "--data", "scenes", "--name", "away", "--set", "behaviour=talk:30", "--detach")
    followed = subprocess.run([*SLUICE, "job", "logs", "-f", "away"], capture_output=True, text=True, timeout=120)
    assert job["state"] in ("queued", "running")
    assert followed.stdout.endswith("line 28\nline 29\n")
    assert document("job", "wait", "away")["error"]["fields"]["job"]["end_reason"] == "result_missing"


def test_a_followed_log_is_one_document_per_line(scenes: None) -> None:
    document("train", "probe", "--data", "scenes", "--name", "away", "--set", "behaviour=talk:30", "--detach")
    out = io.StringIO()
    with redirect_stdout(out):
        main(["job", "logs", "--follow", "away", "--json"])
    lines = out.getvalue().splitlines()
    text = "".join(json.loads(line)["data"] for line in lines)
    assert text.endswith("line 28\nline 29\n")


def test_a_reader_that_stops_reading_ends_the_command_quietly(scenes: None) -> None:
    document("train", "probe", "--data", "scenes", "--name", "loud", "--set", "behaviour=flood:2000000")
    process = subprocess.Popen([*SLUICE, "job", "logs", "loud"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(100)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 1


def test_a_terminal_sees_a_bar_that_is_gone_at_the_end(scenes: None) -> None:
    seen, status, out = on_a_terminal("train", "probe", "--data", "scenes", "--set", "sleep_s=0.5")
    assert status == 0
    assert "running" in seen
    assert "━" in seen
    assert "100%" in seen
    assert "[progress" not in seen
    assert "best stage" in out


def on_a_terminal(*arguments: str) -> tuple[str, int, str]:
    """stderr as a terminal got it, exit status, and stdout, which is a pipe."""
    reader, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen([*SLUICE, *arguments], stdout=subprocess.PIPE, stderr=terminal, text=True, env=environment)
    os.close(terminal)
    pieces: list[bytes] = []
    thread = threading.Thread(target=_read_all, args=(reader, pieces))
    thread.start()
    out, _ = process.communicate(timeout=120)
    thread.join()
    return b"".join(pieces).decode(), process.returncode, out


def _read_all(descriptor: int, pieces: list[bytes]) -> None:
    try:
        while piece := os.read(descriptor, 65536):
            pieces.append(piece)
    except OSError:  # Linux ends a terminal whose other side is closed with EIO
        pass
    os.close(descriptor)
