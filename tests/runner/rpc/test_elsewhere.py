"""Commands that ask a service on another machine: over TCP, with TLS and a token, and never anything else instead."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import UnavailableError
from runner.client import RemoteRunner
from runner.serve import Service
from runner.settings import Settings
from tests.conformance.main_job import voc_folder
from tests.runner.rpc.conftest import ADA, Sluice

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """What the service lets requests name."""
    (tmp_path / "roots").mkdir()
    return tmp_path / "roots"


@pytest.fixture
def elsewhere(tcp_settings: Settings, roots: Path) -> Iterator[Service]:
    with Service(replace(tcp_settings, allowed_roots=str(roots))) as service:
        yield service


@pytest.fixture
def desk(elsewhere: Service, certificate: Path, tmp_path: Path, sluice: Sluice, monkeypatch: pytest.MonkeyPatch) -> Sluice:
    """Commands of a person at another machine: another home, another folder, the address, token and authority of the service."""
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "desk-home"))
    monkeypatch.setenv("SLUICE_SERVER", elsewhere.addresses[1])
    monkeypatch.setenv("SLUICE_SERVER_TOKEN", ADA)
    monkeypatch.setenv("SLUICE_SERVER_CERTIFICATE", str(certificate))
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    return sluice


def test_a_job_runs_there_as_the_tokens_user_and_nothing_is_kept_here(desk: Sluice, elsewhere: Service, tmp_path: Path) -> None:
    job = json.loads(desk("train", "probe", "--data", "pets", "--name", "first", "--json").stdout)
    assert (job["state"], job["user"]) == ("succeeded", "ada")
    assert "probe: done" in desk("job", "logs", "-f", "first").stdout
    assert elsewhere.runner.get_job(job["id"])["state"] == "succeeded"
    assert not (tmp_path / "desk-home").exists()


def test_the_option_names_the_service_in_any_place(desk: Sluice, elsewhere: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLUICE_SERVER")
    where = elsewhere.addresses[1]
    assert "probe" in desk("--server", where, "image", "list").stdout
    assert "probe" in desk("image", "list", "--server", where).stdout
    assert "probe" not in desk("image", "list").stdout


def test_the_settings_file_names_the_service_too(desk: Sluice, elsewhere: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLUICE_SERVER")
    (tmp_path / "desk-home").mkdir()
    (tmp_path / "desk-home" / "sluice.cfg").write_text(f"[sluice]\nserver = {elsewhere.addresses[1]}\n")
    assert "probe" in desk("image", "list").stdout
    assert "probe" not in desk("image", "list", "--embed").stdout


def test_the_doctor_speaks_of_the_machine_that_it_looked_at(desk: Sluice, elsewhere: Service) -> None:
    assert desk("doctor").stdout.endswith(f"The machine of the service at {elsewhere.addresses[1]} can run jobs.\n")


# ------------------------------------------------------------------------------------------------------------------ its files


@pytest.mark.parametrize(
    "command",
    [
        ("dataset", "import", "mine", "pictures"),
        ("image", "build", "pictures"),
        ("model", "export", "first", "model.tar.gz"),
        ("job", "sheet", "first", "sheet.png"),
    ],
)
def test_a_relative_path_is_refused_with_the_machine_that_it_would_be_looked_for_on(
    desk: Sluice, elsewhere: Service, command: tuple[str, ...]
) -> None:
    Path("pictures").mkdir()
    answer = desk(*command, code=2)
    assert f"{command[-1]!r} is looked for on the machine of the service at {elsewhere.addresses[1]}" in answer.stderr
    assert "allowed_roots" in answer.stderr


def test_a_folder_of_the_services_machine_is_read_there_and_said_so(desk: Sluice, elsewhere: Service, roots: Path) -> None:
    folder = voc_folder(roots / "pets2", {"train": 2, "val": 1})
    answer = desk("dataset", "import", "pets2", str(folder))
    assert f"{folder} is read on the machine of the service at {elsewhere.addresses[1]}, not on this one." in answer.stderr
    assert elsewhere.runner.get_dataset("pets2")["images"] == 3


def test_a_path_outside_of_its_roots_or_missing_there_is_refused_by_the_service(desk: Sluice, roots: Path) -> None:
    assert "outside of the folders that requests may name" in desk("dataset", "import", "x", "/etc", code=2).stderr
    assert str(roots / "none") in desk("dataset", "import", "x", str(roots / "none"), code=3).stderr


def test_a_folder_here_that_has_the_name_of_an_image_is_not_sent(desk: Sluice) -> None:
    Path("tinydet").mkdir()
    error = json.loads(desk("image", "add", "tinydet", "--json", code=2).stdout)["error"]
    assert str(Path.cwd()) not in json.dumps(error)


# --------------------------------------------------------------------------------------------------- what is no use is one error


@pytest.fixture
def closed() -> Iterator[str]:
    """A port of this machine at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_a_service_that_is_not_there_is_named_with_what_to_do_and_nothing_is_done_here(desk: Sluice, closed: str, tmp_path: Path) -> None:
    answer = desk("job", "list", "--server", closed, code=5)
    assert answer.stdout == ""
    assert answer.stderr.splitlines() == [
        f"Error: the service at {closed} cannot be reached: ipv4:{closed}: Failed to connect to remote host: Connection refused",
        "Is the address right, does `sluice serve --tcp` run there, and does nothing in between block the port?",
    ]
    assert not (tmp_path / "desk-home").exists()


def test_a_server_that_is_silent_is_not_waited_for_long(desk: Sluice) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        where = f"127.0.0.1:{mute.getsockname()[1]}"
        assert f"the service at {where} " in desk("job", "list", "--server", where, code=5).stderr


def test_a_token_that_the_service_does_not_know_is_told_with_where_to_put_another(
    desk: Sluice, elsewhere: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_SERVER_TOKEN", "c" * 40)
    answer = desk("job", "list", code=2)
    assert answer.stderr == (
        f"Error: the service at {elsewhere.addresses[1]} refuses this command: the token is missing or unknown\n"
        "Put the token that its operator gave you into SLUICE_SERVER_TOKEN.\n"
    )


@pytest.mark.parametrize("token", ["", "two words\n", "schlüssel"])
def test_a_token_that_can_be_none_is_told_before_anything_is_sent(desk: Sluice, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("SLUICE_SERVER_TOKEN", token)
    answer = desk("job", "list", code=2)
    assert "SLUICE_SERVER_TOKEN" in answer.stderr
    assert not token.strip() or token.strip() not in answer.stderr


def test_a_certificate_that_nobody_vouches_for_is_told_with_the_setting(
    desk: Sluice, renewed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_SERVER_CERTIFICATE", str(renewed))
    command = [sys.executable, "-c", "import sys; from runner.cli import main; sys.exit(main())", "job", "list"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (5, "")
    lines = done.stderr.splitlines()  # of a process of its own: gRPC itself is silent only when told so before it is imported
    assert len(lines) == 2
    assert "CERTIFICATE_VERIFY_FAILED" in lines[0]
    assert "server_certificate" in lines[1]


def test_a_name_that_the_certificate_does_not_have_is_told(desk: Sluice, tcp_settings: Settings, tmp_path: Path) -> None:
    everywhere = replace(tcp_settings, listen_tcp="0.0.0.0:0")
    with Service(replace(everywhere, home=tmp_path / "another")) as service:
        where = f"127.0.0.2:{service.addresses[1].rpartition(':')[2]}"
        answer = desk("job", "list", "--server", where, code=5)
    assert f"the service at {where} cannot be reached" in answer.stderr
    assert "server_certificate" in answer.stderr


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SERVER", "gpu1", "the setting server is 'gpu1', not host:port"),
        ("SERVER_CERTIFICATE", "/nowhere/c.pem", "/nowhere/c.pem cannot be read"),
        ("SERVER_CERTIFICATE", "/etc/hostname", "holds no certificate in PEM form"),
    ],
)
def test_a_setting_that_is_no_use_is_named(desk: Sluice, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    monkeypatch.setenv(f"SLUICE_{name}", value)
    assert words in desk("job", "list", code=2).stderr


def test_what_contradicts_a_server_is_refused(desk: Sluice, elsewhere: Service) -> None:
    where = elsewhere.addresses[1]
    assert "leave one of them out" in desk("job", "list", "--embed", "--server", where, code=2).stderr
    assert "on the engine process, not on docker" in desk("job", "list", "--engine", "docker", code=2).stderr
    assert "Did you mean --tcp?" in desk("serve", "--server", where, code=2).stderr


def test_a_token_is_not_shown_with_the_settings(settings: Settings) -> None:
    assert ADA not in repr(replace(settings, server_token=ADA))


def test_a_service_that_went_away_is_waited_for_and_then_nobody_is_told_to_work_here(tcp_settings: Settings, certificate: Path) -> None:
    with Service(tcp_settings) as service:
        remote = RemoteRunner.over_tcp(service.addresses[1], token=ADA, certificate=certificate, patience_s=0.5)
        assert remote.list_jobs()["total"] == 0
    with remote, pytest.raises(UnavailableError, match=f"{service.addresses[1]} went away and did not come back") as caught:
        remote.list_jobs()
    assert "--embed" not in caught.value.hint
