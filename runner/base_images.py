"""The image that another one is built on: had, pulled, or, where no registry can be reached, made from the Debian archive.

A made base is a minimal Debian with Python and pip, arranged so that a Dockerfile written for ``python:3.11-slim-bookworm`` builds on it
unchanged. It is called ``sluice/base:<suite>``.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from contracts.errors import ImageError, PullError
from contracts.image import ImageFacts
from contracts.seams import Engine, PullProgress

#: A pull that says nothing for so long is given up: behind some firewalls an unreachable registry never answers.
PULL_SILENCE_S = 45.0
_KNOWN = re.compile(
    r"(?:docker\.io/)?(?:library/)?(?:"
    r"debian:(?:(?P<debian>bookworm|trixie)|(?P<number>12|13))(?:-slim)?"
    r"|python:(?P<python>3\.11|3\.13)(?:-slim)?(?:-(?P<python_suite>bookworm|trixie))?"
    r"|sluice/base:(?P<own>bookworm|trixie))"
)
_PYTHON = {"bookworm": "3.11", "trixie": "3.13"}
_SUITE = {"12": "bookworm", "13": "trixie", "3.11": "bookworm", "3.13": "trixie"}
_PACKAGES = "python3,python3-pip,ca-certificates"


def ensure_base(engine: Engine, reference: str, cache_dir: Path, on_output: Callable[[str], None]) -> ImageFacts:
    """The base that ``reference`` asks for, or a Debian that stands in for it. Slow only the first time.

    Raises ``PullError`` for a base that can neither be pulled nor made, ``ImageError`` when making it fails.
    """
    if facts := engine.find_image(reference):
        return facts
    suite = debian_suite(reference)
    # SECURITY: our own name is never asked of a registry, where anybody could own it.
    if suite and reference == own_reference(suite):
        return make_debian_base(engine, suite, cache_dir, on_output)
    try:
        return _pull(engine, reference, on_output)
    except PullError as error:
        if not suite:
            raise PullError(
                f"the base image {reference} cannot be pulled: {error.message}", hint=_OTHER_BASE, reference=reference
            ) from error
    on_output(f"{reference} cannot be pulled; {own_reference(suite)} stands in for it")
    return engine.find_image(own_reference(suite)) or make_debian_base(engine, suite, cache_dir, on_output)


_OTHER_BASE = (
    "Load it into the engine (docker load), or name one that it has with --base; Sluice can make Debian and Python bases itself, such as "
    "python:3.11-slim-bookworm."
)


def own_reference(suite: str) -> str:
    return f"sluice/base:{suite}"


def debian_suite(reference: str) -> str:
    """The Debian suite that can stand in for a base, '' when none can: ``python:3.11-slim`` gives ``bookworm``."""
    match = _KNOWN.fullmatch(reference)
    if not match:
        return ""
    suite = match["own"] or match["debian"] or match["python_suite"] or _SUITE[match["number"] or match["python"]]
    return suite if match["python"] in (None, _PYTHON[suite]) else ""


def make_debian_base(engine: Engine, suite: str, cache_dir: Path, on_output: Callable[[str], None]) -> ImageFacts:
    """Makes ``sluice/base:<suite>`` from the Debian archive, with the host's own mirror and proxy; about half a minute."""
    _ensure_mmdebstrap(on_output)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(cache_dir / f"base-{suite}.lock"), tempfile.TemporaryDirectory(prefix="sluice-base-", dir=cache_dir) as folder:
        if facts := engine.find_image(own_reference(suite)):
            return facts
        on_output(f"making {own_reference(suite)} from the Debian archive")
        tar = Path(folder) / "root.tar"
        _run(_mmdebstrap_command(suite, tar, Path(folder)), on_output)
        return engine.import_image(tar, own_reference(suite))


# ---------------------------------------------------------------------------------------------------------------- pulling


def _pull(engine: Engine, reference: str, on_output: Callable[[str], None]) -> ImageFacts:
    on_output(f"pulling {reference}")
    return engine.pull_image(reference, _Patience(reference, on_output))


class _Patience:
    """Passes a pull's progress on; ends a pull that has not moved for too long."""

    def __init__(self, reference: str, on_output: Callable[[str], None]) -> None:
        self._reference = reference
        self._on_output = on_output
        self._last: PullProgress | None = None
        self._moved_at = time.monotonic()

    def __call__(self, progress: PullProgress) -> None:
        if progress != self._last:
            self._last, self._moved_at = progress, time.monotonic()
            self._on_output(progress.message)
        elif time.monotonic() - self._moved_at > PULL_SILENCE_S:
            raise PullError(f"the registry of {self._reference} said nothing for {PULL_SILENCE_S:.0f} s", reference=self._reference)


# ----------------------------------------------------------------------------------------------------------------- making


def _ensure_mmdebstrap(on_output: Callable[[str], None]) -> None:
    if shutil.which("mmdebstrap"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ImageError("no registry can be reached, and mmdebstrap, which makes a base image, is not installed", hint=_INSTALL)
    apt_get = ["apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=300"]
    install = [*apt_get, "install", "--no-install-recommends", "mmdebstrap", "gpg", "debian-archive-keyring"]
    on_output("installing mmdebstrap, which makes the base image")
    if _succeeds(install):
        return
    _run([*apt_get, "update"], on_output)
    _run(install, on_output)


_INSTALL = "Install it: sudo apt-get install mmdebstrap debian-archive-keyring"


def _mmdebstrap_command(suite: str, tar: Path, folder: Path) -> list[str]:
    # What Debian forbids its own Python on a host is the point of a base image: pip installs into it, `python` is Python 3.
    hooks = [
        'rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED',
        'ln -sf python3 "$1/usr/bin/python"',
        'rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"',  # SECURITY: a proxy's password stays on the host
    ]
    left_out = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
    return [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={_PACKAGES}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in left_out),
        *(f"--aptopt={option}" for option in _host_apt_options()),
        *(f"--customize-hook={hook}" for hook in hooks),
        *(["--keyring=/usr/share/keyrings/debian-archive-keyring.gpg"] if Path(_KEYRING).is_file() else []),
        suite,
        str(tar),
        *_host_sources(suite, folder),
    ]


_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_APT_OPTIONS = re.compile(
    r"Acquire::(https?::Proxy|https?::Proxy::|https::CaInfo|https::Verify|Check-Valid-Until|Check-Date|Retries)", re.IGNORECASE
)


def _host_apt_options() -> Iterator[str]:
    """The host's proxy, certificates and tolerance of old lists, as ``Name "value"``; nothing where apt is not at home."""
    if not shutil.which("apt-config"):
        return
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    yield from (line.removesuffix(";") for line in dump.splitlines() if _APT_OPTIONS.match(line) and '""' not in line)


def _host_sources(suite: str, folder: Path) -> list[str]:
    """A sources file with the Debian mirrors of this host; [] where it has none, as on Ubuntu, which means Debian's own."""
    archive, security = find_debian_mirrors(Path("/etc/apt"))
    if not archive:
        return []
    lines = [f"deb {archive} {suite} main", f"deb {archive} {suite}-updates main"]
    lines += [f"deb {security} {suite}-security main"] if security else []
    sources = folder / "sources.list"
    sources.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [str(sources)]


def find_debian_mirrors(apt_dir: Path) -> tuple[str, str]:
    """The addresses of Debian's archive and of its security archive that the files below ``/etc/apt`` name; '' for one not named."""
    files = [
        apt_dir / "sources.list",
        *sorted((apt_dir / "sources.list.d").glob("*.list")),
        *sorted((apt_dir / "sources.list.d").glob("*.sources")),
    ]
    words = [word for file in files if file.is_file() for word in _uncommented_words(file)]
    addresses = [word.rstrip("/") for word in words if re.match(r"(https?|file|copy):", word)]
    archive = next((address for address in addresses if address.endswith("/debian")), "")
    return archive, next((address for address in addresses if address.endswith("/debian-security")), "")


def _uncommented_words(file: Path) -> Iterator[str]:
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        yield from line.partition("#")[0].split()


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def _run(command: list[str], on_output: Callable[[str], None]) -> None:
    """Runs a command, passing on each line it says. Raises ``ImageError`` with its last words."""
    said: list[str] = []
    with subprocess.Popen(
        command, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            said.append(line.rstrip())
            on_output(line.rstrip())
    if process.returncode:
        raise ImageError(f"{command[0]} ended with {process.returncode}: {' / '.join(said[-5:])}", hint=_MAKE_FAILED, command=command)


_MAKE_FAILED = "Check that this machine reaches a Debian archive (apt-get update), or name a base image that the engine has with --base."


def _environment() -> dict[str, str]:
    return {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
