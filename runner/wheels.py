"""What an image's build needs of the host's pip: the wheels it can fetch, its package index and its certificates.

The host's pip does the fetching, with its own configuration, because only the host knows the mirror, the proxy or the folder of wheels that a
closed network has. It fetches for the Python of the base image, not for its own.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from contracts.errors import ImageError
from contracts.seams import Engine

#: glibc 2.28 is what Debian 10, Ubuntu 20.04, RHEL 8 and everything newer have.
_GLIBC_MINORS = range(28, 16, -1)
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_PROBE_BYTES = 4 * 1024**2


def find_base_python(engine: Engine, reference: str) -> str:
    """The ``3.x`` that ``python3`` means in an image, read from its files without running it; '' when it has none that we know to find."""
    for prefix in ("/usr/local", "/opt/conda"):
        for minor in range(14, 7, -1):
            if engine.read_image_files(reference, f"{prefix}/lib/python3.{minor}/collections", _PROBE_BYTES):
                return f"3.{minor}"
    debian = engine.read_image_files(reference, "/usr/share/python3", _PROBE_BYTES).get("debian_defaults", b"")
    match = re.search(rb"^default-version\s*=\s*python(3\.\d+)", debian, re.MULTILINE)
    return match[1].decode() if match else ""


def fetch_wheels(
    requirements: Path, python: str, architecture: str, pip_arguments: Sequence[str], cache_dir: Path, on_output: Callable[[str], None]
) -> list[Path]:
    """The wheels of everything that ``requirements`` names, for ``python`` on Linux; from the cache when the same was fetched before.

    ``architecture`` is the engine's word (``amd64``, ``arm64``). Raises ``ImageError`` with pip's last words. A requirement without a fixed
    version stays at what was fetched first, until the cache folder is removed.
    """
    arguments = [*_target_arguments(python, architecture), *pip_arguments]
    folder = cache_dir / _fingerprint(requirements, arguments)
    if not folder.is_dir():
        on_output(f"fetching wheels for Python {python} with this host's pip")
        _download(requirements, arguments, folder, on_output)
    wheels = sorted(folder.glob("*.whl"))
    on_output(f"{len(wheels)} wheels, {sum(wheel.stat().st_size for wheel in wheels) / 1e6:.0f} MB")
    return wheels


def write_pip_settings(folder: Path, on_output: Callable[[str], None]) -> None:
    """Writes ``pip.conf`` and ``ca-certificates.crt`` of this host into ``folder``, both always there, for use inside a build."""
    settings = list(_build_settings(read_pip_configuration(), on_output))
    (folder / "pip.conf").write_text("\n".join(["[global]", *settings]) + "\n", encoding="utf-8")
    bundle = find_certificates()
    (folder / "ca-certificates.crt").write_bytes(bundle.read_bytes() if bundle else b"")


def find_certificates() -> Path | None:
    """The file of certificates that this host trusts: what its environment or pip names, else the system's own."""
    named = [os.environ.get(name) for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")]
    system = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"]
    return next((Path(name) for name in [*named, *system] if name and Path(name).is_file()), None)


def read_pip_configuration() -> dict[str, str]:
    """The host's pip settings by plain name (``index-url``), environment over files, as ``pip config list`` tells them."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found: dict[str, str] = {}
    for section in ("global", "install", "download", ":env:"):
        for key, value in re.findall(rf"^{re.escape(section)}\.([\w-]+)=(.+)$", listed, re.MULTILINE):
            found[key] = str(ast.literal_eval(value))
    return found


# ---------------------------------------------------------------------------------------------------------------- wheels


def _target_arguments(python: str, architecture: str) -> list[str]:
    machine = _MACHINES.get(architecture, architecture or os.uname().machine)
    names = [*(f"manylinux_2_{minor}" for minor in _GLIBC_MINORS), "manylinux2014", "manylinux2010", "manylinux1", "linux"]
    platforms = [part for name in names for part in ("--platform", f"{name}_{machine}")]
    return ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, *platforms]


def _fingerprint(requirements: Path, arguments: Sequence[str]) -> str:
    """A name for what would be fetched; the host's pip configuration is part of it, so that another mirror is asked anew."""
    digest = hashlib.sha256(repr((sorted(read_pip_configuration().items()), list(arguments))).encode())
    for file in _requirement_files(requirements, set()):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:20]


def _requirement_files(file: Path, seen: set[Path]) -> Iterator[Path]:
    if file in seen or not file.is_file():
        return
    seen.add(file)
    yield file
    for name in re.findall(
        r"^\s*(?:-r|-c|--requirement|--constraint)[ =]*(\S+)", file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE
    ):
        yield from _requirement_files(file.parent / name, seen)


def _download(requirements: Path, arguments: Sequence[str], folder: Path, on_output: Callable[[str], None]) -> None:
    """Downloads aside, then renames: a folder that is there is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix="sluice-wheels-", dir=folder.parent))
    try:
        _run_pip(
            ["download", "--no-input", "--progress-bar=off", "-d", str(aside), "-r", requirements.name, *arguments],
            requirements.parent,
            on_output,
        )
        aside.chmod(0o755)
        aside.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another build was faster: the same wheels lie there
            raise ImageError(f"the wheels cannot be kept in {folder}: {error}", hint="Check the disk of the data home.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _run_pip(arguments: list[str], folder: Path, on_output: Callable[[str], None]) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    said: list[str] = []
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            said.append(line.rstrip())
            if line.lstrip().startswith("Downloading "):  # what takes time; the rest is told when pip fails
                on_output(line.strip())
    if process.returncode:
        errors = [line for line in said if line.startswith("ERROR")] or said[-5:]
        raise ImageError(f"the wheels of requirements.txt cannot be fetched: {' / '.join(errors)}", hint=_WHEELS_HINT)


_WHEELS_HINT = (
    "The host's pip must find a wheel for the base's Python of every requirement: check the names and versions in requirements.txt, and "
    "'pip config list' for the index or mirror."
)


# -------------------------------------------------------------------------------------------------------------- settings

_ADDRESSES = ("index-url", "extra-index-url", "find-links", "proxy")
_PLAIN = ("trusted-host", "timeout", "default-timeout", "retries", "no-index")


def _build_settings(configuration: dict[str, str], on_output: Callable[[str], None]) -> Iterator[str]:
    """Lines of pip.conf that hold inside a build too: no folder of the host, no password."""
    for name in _ADDRESSES:
        if usable := [word for word in configuration.get(name, "").split() if _is_usable_address(name, word, on_output)]:
            yield f"{name} = {' '.join(usable)}"
    yield from (f"{name} = {' '.join(configuration[name].split())}" for name in _PLAIN if name in configuration)


def _is_usable_address(name: str, address: str, on_output: Callable[[str], None]) -> bool:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https"):
        return False
    if parts.username or parts.password:
        # SECURITY: what a build copies stays readable in the image's layers.
        on_output(f"pip's {name} holds a password and is not given to the build; the wheels are fetched with it on the host")
        return False
    return True
