"""A real service in this process, on the process engine, with a data set and an image that keeps the contract."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from runner.cli import main
from runner.client import RemoteRunner, find_server
from runner.serve import Service
from runner.service import Runner
from runner.settings import Settings, environment_of, load_settings
from tests.conformance.main_job import PROBE, voc_folder

#: Of a job that runs until it is told otherwise.
HANGING = {"kind": "training", "image": "probe", "train_data": "pets", "parameters": {"behaviour": "hang"}}
#: Tokens.
ADA, BOB = "a" * 40, "b" * 40


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What most tests begin with; its name is short, for sockets have short paths."""
    folder = tmp_path_factory.mktemp("p")
    with Runner.open(settings_of(folder / "h")) as runner:
        runner.import_dataset("pets", voc_folder(folder / "pets", {"train": 6, "val": 3, "test": 4}))
        runner.build_image(PROBE, name="probe")
        runner.link_images("probe", "probe")
    return folder / "h"


def settings_of(home: Path, **given: str) -> Settings:
    defaults = {"engine": "process", "gpus": "fake", "poll_interval_s": "0.1", "stop_grace_s": "1", "disk_floor_bytes": "0"}
    return load_settings({"home": str(home), **defaults, **given}, environ={})


@pytest.fixture
def settings(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of a home of the test's own."""
    home = tmp_path_factory.mktemp("h") / "h"
    shutil.copytree(prepared_home, home)
    return settings_of(home)


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    with Service(settings) as service:
        yield service
        end_all_jobs(service.runner)


@pytest.fixture
def remote(service: Service, settings: Settings) -> Iterator[RemoteRunner]:
    found = find_server(settings)
    assert found is not None
    with found:
        yield found


@pytest.fixture(scope="module")
def busy(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that tests only look at, with a job of every kind, also one that failed and one that waits."""
    home = tmp_path_factory.mktemp("b") / "h"
    shutil.copytree(prepared_home, home)
    with Service(replace(settings_of(home), job_slots=1)) as service:
        yield service
        end_all_jobs(service.runner)


def end_all_jobs(runner: Runner) -> None:
    for job in runner.list_jobs(states=("queued", "running"))["jobs"]:
        runner.cancel_job(job["id"])


# ---------------------------------------------------------------------------------------------------------------- over TCP


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost that signs itself; its key lies beside it."""
    return _make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def renewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, with another key."""
    return _make_certificate(tmp_path_factory.mktemp("renewed"))


def _make_certificate(folder: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl, to make a certificate")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return folder / "certificate.pem"


@pytest.fixture
def tcp_settings(settings: Settings, certificate: Path, tmp_path: Path) -> Settings:
    (tmp_path / "tokens").write_text(f"# who may\nada {ADA}\n\nbob {BOB}\n")
    return replace(
        settings,
        listen_tcp="localhost:0",
        tls_certificate=str(certificate),
        tls_key=str(certificate.with_name("key.pem")),
        token_file=str(tmp_path / "tokens"),
    )


# ----------------------------------------------------------------------------------------------------------- command lines


@dataclass(frozen=True)
class Answer:
    """What a command printed."""

    stdout: str
    stderr: str


Sluice = Callable[..., Answer]


@pytest.fixture
def sluice(settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], logging_put_back: None) -> Sluice:
    """Runs a command on the home of the test, in this process."""
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, code: int = 0) -> Answer:
        capfd.readouterr()
        status = main(arguments)
        answer = Answer(*capfd.readouterr())
        assert status == code, answer
        return answer

    return run


@pytest.fixture
def logging_put_back() -> Iterator[None]:
    """A command configures logging for its whole process."""
    loggers = [logging.getLogger(name) for name in ("", "contracts", "registry", "plugins", "runner")]
    levels, handlers = [logger.level for logger in loggers], list(loggers[0].handlers)
    yield
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
