"""Sizes by flag, a clean environment for every test, and the proof at the end that nothing was left behind.

Without flags no test uses Docker, the network or much time. ``--docker`` adds the tests with real containers, ``--slow`` those that train a
real model or build an image; the summary says what was left out.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# No test is timed: a busy machine must not turn a slow example into a failure. On CI hypothesis' own profile stays underneath.
settings.register_profile("sluice", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sluice")

ROOT = Path(__file__).resolve().parent.parent
BASE_IMAGE = "sluice/base:bookworm"
INSTALLATION_LABEL = "sluice.installation"
#: What may not leak from the developer's shell into a test, or from one test into the next.
CLEARED_PREFIXES = ("SLUICE_", "NVIDIA_", "CUDA_", "YMIR_", "AWS_", "COLUMNS", "NO_COLOR", "FORCE_COLOR")
OPTIONAL_MARKS = {"docker": "needs a Docker Engine: --docker", "slow": "takes long: --slow"}


# --------------------------------------------------------------------------------------------------------------- flags


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sluice")
    group.addoption("--docker", action="store_true", help="also run the tests that start real containers")
    group.addoption("--slow", action="store_true", help="also run the tests that train a real model or build an image")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips what no flag asked for: skipped, not deselected, so that the report counts it."""
    for item in items:
        for mark, reason in OPTIONAL_MARKS.items():
            if item.get_closest_marker(mark) and not config.getoption(f"--{mark}"):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reasons = [
        report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", ()) if report.when == "setup"
    ]
    for reason in OPTIONAL_MARKS.values():
        if count := sum(text == reason for text in reasons):
            terminalreporter.write_line(f"{count} left out, {reason}")


# --------------------------------------------------------------------------------------------------------- environment


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A data home of its own, nothing of the developer's shell, and no network but for tests with containers."""
    for name in [name for name in os.environ if name.startswith(CLEARED_PREFIXES)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "sluice-home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "no-such-file"))
    if not request.node.get_closest_marker("docker"):
        _forbid_network(monkeypatch)


def _forbid_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def connect_here_only(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if host and host != "localhost" and not host.startswith("127.") and host != "::1":
            raise PermissionError(f"a test without --docker tried to reach {address}: the default suite works without a network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here_only)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/no-docker-in-this-test.sock")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real S3 server (moto's) for the session; each test makes its own bucket, ``tests.s3.S3Server``."""
    from tests.s3 import S3Server

    with S3Server.started(tmp_path_factory.mktemp("s3") / "server.log") as server:
        yield server


@pytest.fixture
def s3_faults(s3_server: Any) -> Iterator[Any]:
    """A way to that server on which things go wrong as the test says, ``tests.s3.FaultyProxy``."""
    from tests.s3 import FaultyProxy

    with FaultyProxy.before(s3_server.port) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The BCCD blood-cell set (Pascal VOC, 364 pictures), which lies beside the clone or where SLUICE_SHARED says."""
    folder = _SHARED / "data" / "bccd" / "BCCD"
    if not folder.is_dir():
        pytest.skip(f"the BCCD set is not at {folder}: put it there, or name its shared folder in SLUICE_SHARED")
    return folder


_SHARED = Path(os.environ.get("SLUICE_SHARED") or ROOT.parent / "shared")  # read here: the environment is cleared per test


# --------------------------------------------------------------------------------------------------- nothing left behind


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails the session, in the teardown of its last test, when it left a container, a temporary folder or a process."""
    temporary = tmp_path_factory.mktemp("tmp")
    mark = uuid.uuid4().hex
    os.environ |= {"TMPDIR": str(temporary), _PROCESS_MARK: mark}  # every process that a test starts inherits both
    tempfile.tempdir = None
    yield
    left = [f"temporary folder {path}" for path in temporary.glob("sluice*")] + _processes(mark)
    if request.config.getoption("--docker"):
        left += _containers(tmp_path_factory.getbasetemp())
    if left:
        pytest.fail("the tests left behind:\n" + "\n".join(left), pytrace=False)


_PROCESS_MARK = "PYTEST_SLUICE_SESSION"
_GRACE_S = 5.0


def _processes(mark: str) -> list[str]:
    """Processes that tests started and that have not ended a little later; Python's own resource tracker ends with pytest."""
    end = time.monotonic() + _GRACE_S
    while (found := list(_marked_processes(f"{_PROCESS_MARK}={mark}".encode()))) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def _marked_processes(variable: bytes) -> Iterator[str]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            marked = variable in (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # ended meanwhile, or another user's
            continue
        if marked and command and int(folder.name) != os.getpid() and "resource_tracker" not in command:
            yield f"process {folder.name}: {command}"


def _containers(base_dir: Path) -> list[str]:
    """Containers of Sluice that were given folders of this session: other sessions on the same engine are not ours to judge."""
    import docker  # here, because a session without Docker must not need it

    client = docker.from_env()
    try:
        found = client.containers.list(all=True, filters={"label": INSTALLATION_LABEL}, ignore_removed=True)
        return [f"container {c.name}" for c in found if any(m.get("Source", "").startswith(f"{base_dir}/") for m in c.attrs["Mounts"])]
    finally:
        client.close()


@pytest.fixture(scope="session")
def _engine_with_base_image() -> None:
    """An engine that answers and has the base on which test images are built; it is made from the Debian archive where it is missing."""
    from plugins.engines.docker import DockerEngine
    from runner.base_images import ensure_base

    ensure_base(DockerEngine(), BASE_IMAGE, Path(os.environ["TMPDIR"]) / "base-cache", lambda line: print(line, file=sys.stderr))


@pytest.fixture(autouse=True)
def _docker_is_ready(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("docker"):
        request.getfixturevalue("_engine_with_base_image")
