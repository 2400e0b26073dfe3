"""The socket: where it is, that it is its owner's alone, and that a stale one is in nobody's way."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError, ConflictError
from runner.client import find_server
from runner.rpc import RpcServer
from runner.serve import Service
from runner.settings import Settings
from runner.socket_file import choose_socket, find_socket, is_answered
from tests.runner.rpc.conftest import settings_of


@pytest.fixture
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A socket at which somebody listens."""
    path = tmp_path_factory.mktemp("s") / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield path


def test_only_the_owner_may_use_the_socket_and_it_goes_with_the_service(settings: Settings) -> None:
    with Service(settings) as service:
        path = settings.home / "sluice.sock"
        assert service.addresses == [f"unix:{path}"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert find_socket(settings) == path
    assert not path.exists()
    assert find_socket(settings) is None
    assert not [entry for entry in settings.home.iterdir() if entry.name.startswith(".")], "what it was made in is gone, too"


@pytest.mark.parametrize("name", ["with blank", "ünïcode", "a#b?c=d%41", "a:b"])
def test_a_home_may_have_any_name(service: Service, settings: Settings, tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    home = tmp_path_factory.mktemp("n") / name
    home.mkdir()
    server = RpcServer(service.runner, replace(settings, home=home))
    try:
        assert server.start() == [f"unix:{home}/sluice.sock"]
        assert is_answered(home / "sluice.sock")
        found = find_server(replace(settings, home=home))
        assert found is not None
        found.close()
    finally:
        server.stop(0.0)


def test_in_a_home_with_a_long_name_the_socket_lies_elsewhere_and_is_found(
    service: Service, settings: Settings, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path_factory.mktemp("x")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    home = tmp_path_factory.mktemp("n") / ("n" * 120)
    home.mkdir()
    long = replace(settings, home=home)
    server = RpcServer(service.runner, long)
    server.start()
    path = find_socket(long)
    assert path is not None
    assert path.parent == runtime / f"sluice-{os.getuid()}"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    server.stop(0.0)
    assert (find_socket(long), list(path.parent.iterdir()), list(home.iterdir())) == (None, [], [])


def test_a_folder_of_others_in_the_way_of_the_short_socket_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / f"sluice-{os.getuid()}").mkdir()
    (tmp_path / f"sluice-{os.getuid()}").chmod(0o777)
    with pytest.raises(ConfigurationError, match="not a folder of yours alone"):
        choose_socket(replace(settings, home=tmp_path / ("n" * 120)))


def test_a_setting_that_the_kernel_does_not_take_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the kernel takes 107") as caught:
        choose_socket(settings_of(tmp_path / "h", listen=f"/tmp/{'s' * 120}"))
    assert caught.value.fields == {"setting": "listen"}


def test_where_somebody_listens_nobody_else_does(settings: Settings, listener: Path) -> None:
    with pytest.raises(ConflictError, match="another service listens"):
        choose_socket(replace(settings, listen=str(listener)))


def test_a_file_that_is_no_socket_is_not_replaced(settings: Settings) -> None:
    (settings.home / "sluice.sock").write_text("mine")
    with pytest.raises(ConfigurationError, match="is no socket"):
        choose_socket(settings)
    assert (settings.home / "sluice.sock").read_text() == "mine"


def test_a_folder_that_takes_no_socket_is_named(service: Service, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="/proc takes no socket"):
        RpcServer(service.runner, replace(settings, listen="/proc/s")).start()


def test_the_service_of_another_home_or_engine_is_not_this_ones(service: Service, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert find_server(replace(settings, home=tmp_path / "other", listen=str(settings.home / "sluice.sock"))) is None
    assert find_server(replace(settings, engine="docker")) is None


def test_somebody_who_listens_but_does_not_answer_is_no_service(
    settings: Settings, listener: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("runner.client._HELLO_S", 0.2)
    assert find_server(replace(settings, listen=str(listener))) is None
    assert "does not answer" in caplog.text


def test_a_service_of_another_version_is_an_error_that_says_so(
    service: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.client.spoken", lambda: {"version": "9.9", "messages": "abc"})
    with pytest.raises(ConfigurationError, match=r"is Sluice .*, this is 9\.9 \(messages abc\)"):
        find_server(settings)
