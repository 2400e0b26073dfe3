"""Named connections: kept, shown without their secret, checked against a real server, forgotten."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.connection import MASK
from contracts.errors import ConfigurationError, ConflictError, DatasetError, NotFoundError, RequestError, UnavailableError
from runner import connections
from runner.service import Runner
from tests.s3 import KEY, SECRET, S3Server

Open, Connect = Callable[..., Runner], Callable[..., dict[str, Any]]


def test_a_connection_is_kept_with_its_secret_in_a_file_of_its_own(open_runner: Open, connect: Connect, home: Path) -> None:
    runner = open_runner()
    added = connect(runner, "https://host:9000/", bucket="b", prefix="p/")
    assert added == {
        "name": "team", "endpoint": "https://host:9000", "region": "us-east-1", "bucket": "b", "prefix": "p/",
        "access_key": "AKIA...", "secret": MASK, "profile": "", "authority": "", "addressing": "path",
    }  # fmt: skip
    assert (runner.get_connection("team"), runner.list_connections()) == (added, [added])
    (file,) = (home / "secrets").iterdir()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert connections.get(runner._installation, "team").secret.reveal() == SECRET
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in home.glob("sluice.db*"))


def test_replacing_and_forgetting_leave_no_secret_behind(open_runner: Open, connect: Connect, home: Path) -> None:
    runner = open_runner()
    connect(runner, "https://first")
    with pytest.raises(ConflictError, match="'team' already"):
        connect(runner, "https://second")
    assert len(list((home / "secrets").iterdir())) == 1
    runner.add_connection("team", endpoint="https://second", access_key="other", secret="newer", overwrite=True)
    assert [file.read_text() for file in (home / "secrets").iterdir()] == ["newer"]
    assert runner.remove_connection("team")["endpoint"] == "https://second"
    assert (runner.list_connections(), list((home / "secrets").iterdir())) == ([], [])
    with pytest.raises(NotFoundError, match="no connection 'team'"):
        runner.remove_connection("team")


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("../x", {}, "cannot be the name"),
        ("environment", {}, "boto3"),
        ("x", {"endpoint": "ftp://host"}, "endpoint"),
        ("x", {"endpoint": "https://user:hush@host"}, "endpoint"),
        ("x", {"endpoint": "https://[broken"}, "endpoint"),
        ("x", {"endpoint": "host:9000"}, "endpoint"),
        ("x", {"access_key": "k"}, "belong together"),
        ("x", {"secret": "hush"}, "belong together"),
        ("x", {"access_key": "k", "secret": "hush", "profile": "p"}, "exclude each other"),
        ("x", {"region": "a\nb"}, "region"),
        ("x", {"addressing": "sideways"}, "sideways"),
    ],
)
def test_what_cannot_be_a_connection_is_refused_and_nothing_is_kept(
    name: str, given: dict[str, str], words: str, open_runner: Open, home: Path
) -> None:
    runner = open_runner()
    with pytest.raises(RequestError, match=words) as refused:
        runner.add_connection(name, **given)  # type: ignore[arg-type]
    assert "hush" not in str(refused.value.to_dict()) or "user:hush" in given.get("endpoint", "")
    assert (runner.list_connections(), list(home.glob("secrets/*"))) == ([], [])


def test_a_secret_that_is_lost_or_open_to_others_is_told(open_runner: Open, connect: Connect, home: Path) -> None:
    runner = open_runner()
    connect(runner, "https://host")
    (file,) = (home / "secrets").iterdir()
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="others may read"):
        runner.check_connection("team")
    file.unlink()
    with pytest.raises(ConfigurationError, match="is lost") as refused:
        runner.check_connection("team")
    assert "--overwrite" in refused.value.hint


def test_a_check_says_what_answers(open_runner: Open, connect: Connect, s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket()
    runner = open_runner()
    connect(runner, s3_server.endpoint)
    connect(runner, s3_server.endpoint, "bound", bucket=bucket, prefix="p")
    assert bucket in runner.check_connection("team")["answer"] or "buckets" in runner.check_connection("team")["answer"]
    assert runner.check_connection("bound") == {"name": "bound", "answer": f"{s3_server.endpoint} lists s3://{bucket}/p"}
    with pytest.raises(DatasetError, match="no bucket 'nothing'"):
        runner.check_connection("team", "s3://nothing/x")
    for address in ("http://127.0.0.1/", "file:///etc/passwd", "bucket"):
        with pytest.raises(RequestError):
            runner.check_connection("team", address)


def test_a_profile_of_the_aws_files_may_say_who_asks(
    open_runner: Open, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text(f"[ours]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    runner = open_runner()
    runner.add_connection("ours", endpoint=s3_server.endpoint, profile="ours", addressing="path")
    runner.add_connection("theirs", endpoint=s3_server.endpoint, profile="theirs", addressing="path")
    assert "buckets" in runner.check_connection("ours")["answer"]
    with pytest.raises(ConfigurationError, match="theirs"):
        runner.check_connection("theirs")


def test_no_secret_reaches_a_log(
    open_runner: Open, connect: Connect, s3_server: S3Server, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, "runner")
    caplog.set_level(logging.DEBUG, "plugins")
    runner = open_runner()
    connect(runner, s3_server.endpoint)
    runner.check_connection("team")
    connect(runner, "http://127.0.0.1:1", "away")
    with pytest.raises(UnavailableError) as refused:
        runner.check_connection("away")
    assert SECRET not in caplog.text + str(refused.value.to_dict()) + "".join(capfd.readouterr())


def test_doctor_says_which_connections_and_stores_answer(open_runner: Open, connect: Connect, s3_server: S3Server) -> None:
    runner = open_runner()
    findings = {finding["check"]: finding for finding in runner.doctor()}
    assert (findings["store"]["status"], findings["connections"]["status"]) == ("ok", "skipped")
    connect(runner, s3_server.endpoint)
    assert {f["check"]: f["message"] for f in runner.doctor()}["connections"] == "1 answer"
    connect(runner, "http://127.0.0.1:1", "away")
    finding = next(finding for finding in runner.doctor() if finding["check"] == "connections")
    assert (finding["status"], "1 of 2 do not answer" in finding["message"]) == ("warning", True)
    assert "sluice connection check away" in finding["remedy"]
