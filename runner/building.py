"""Builds an image folder, also in a closed network: base, wheels, certificates and pip settings come from the host.

The build sees a copy of the folder with one more, ``.sluice/``, that a Dockerfile may use::

    .sluice/wheels/*.whl           everything requirements.txt names, fetched by the host's pip for the base's Python
    .sluice/ca-certificates.crt    the certificates that the host trusts
    .sluice/pip.conf               the host's package index and proxy

A link in the folder to a Python package beside it (a folder with an ``__init__.py``) stands in the copy as that package: this is how images share
source. Any other link that leads out of the folder stays a link, so that a folder from elsewhere cannot put the host's files into an image.

Nothing is written into the folder itself. A Dockerfile whose base may be exchanged begins with ``ARG BASE=...`` and ``FROM ${BASE}``.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from contracts.errors import ImageError
from contracts.image import ImageFacts
from contracts.seams import Engine
from runner.base_images import ensure_base
from runner.wheels import fetch_wheels, find_base_python, write_pip_settings

_TEMPLATES = ("training-template.yaml", "mining-template.yaml", "infer-template.yaml")
#: Bigger files are linked into the build's copy, not copied: an image folder may carry weights.
_LINK_BYTES = 1024**2


def build_image(
    engine: Engine,
    folder: Path,
    reference: str,
    *,
    base: str | None = None,
    build_args: Mapping[str, str] = MappingProxyType({}),
    pip_arguments: Sequence[str] = (),
    home: Path | None = None,
    on_output: Callable[[str], None],
) -> ImageFacts:
    """Builds ``folder`` and names it ``reference``; blocks, minutes the first time and seconds after that.

    ``base`` stands in for the Dockerfile's own base, ``build_args`` for the defaults of its other ``ARG`` lines. ``home`` is the data home, whose
    ``cache`` keeps wheels. ``on_output`` gets what goes on, line by line. Raises ``ImageError`` (folder, wheels or build), ``PullError`` (base).
    """
    check_folder(folder)
    if "build" not in engine.capabilities:
        return engine.build_image(folder, reference, {}, on_output)
    cache_dir = (home or Path(os.environ.get("SLUICE_HOME") or "~/.sluice").expanduser()) / "cache"
    dockerfile = read_dockerfile(folder / "Dockerfile")
    base_facts = _choose_base(engine, dockerfile, base, cache_dir, on_output)
    with _build_context(folder, cache_dir) as context:
        _add_host_part(engine, context, base_facts, pip_arguments, cache_dir, on_output)
        base_args = {"BASE": base_facts.reference} if base_facts and dockerfile.exchangeable else {}
        try:
            return engine.build_image(context, reference, {**build_args, **base_args}, on_output)
        except ImageError as error:  # the author knows their folder, not our copy of it
            raise ImageError(error.message.replace(str(context), str(folder)), hint=error.hint, **error.fields) from error


def check_folder(folder: Path) -> None:
    """Raises ``ImageError`` that names everything an image folder lacks."""
    if not folder.is_dir():
        raise ImageError(f"there is no folder {folder}", hint="Name the folder that holds the image's Dockerfile.", folder=str(folder))
    missing = [] if (folder / "Dockerfile").is_file() else ["a Dockerfile"]
    if not any(next(folder.rglob(name), None) for name in _TEMPLATES):
        missing.append(f"img-man/ with at least one of {', '.join(_TEMPLATES)}")
    if missing:
        raise ImageError(
            f"{folder} is no image folder: it lacks {' and '.join(missing)}", hint=_FOLDER_HINT, folder=str(folder), missing=missing
        )


_FOLDER_HINT = "docs/3 tells how to write an image; images/tinydet is one to look at."


# ------------------------------------------------------------------------------------------------------------- Dockerfile


@dataclass(frozen=True)
class Dockerfile:
    """What matters of a Dockerfile before it is built: its first base ('' for none or one we cannot tell) and whether ``ARG BASE`` chooses it."""

    base: str
    exchangeable: bool


def read_dockerfile(path: Path) -> Dockerfile:
    """The default of ``ARG BASE``, or else the first ``FROM`` with the defaults of the arguments above it put in."""
    defaults: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if match := re.match(r"\s*ARG\s+(\w+)(?:=(\S*))?", line, re.IGNORECASE):
            defaults[match[1]] = (match[2] or "").strip("\"'")
        elif match := re.match(r"\s*FROM\s+(?:--\S+\s+)*(\S+)", line, re.IGNORECASE):
            return Dockerfile(_resolve(match[1], defaults), "BASE" in defaults)
    raise ImageError(f"{path} has no FROM", hint="Begin it with ARG BASE=python:3.11-slim-bookworm and FROM ${BASE}.", file=str(path))


def _resolve(base: str, defaults: dict[str, str]) -> str:
    resolved = re.sub(r"\$\{?(\w+)(?::-([^}]*))?\}?", lambda match: defaults.get(match[1]) or match[2] or "", base)
    return "" if resolved == "scratch" else resolved


def _choose_base(
    engine: Engine, dockerfile: Dockerfile, base: str | None, cache_dir: Path, on_output: Callable[[str], None]
) -> ImageFacts | None:
    wanted = base or dockerfile.base
    if base and not dockerfile.exchangeable:
        raise ImageError(f"the base cannot be exchanged for {base}: the Dockerfile has no ARG BASE", hint=_EXCHANGE, base=base)
    if not wanted:
        return None
    facts = ensure_base(engine, wanted, cache_dir, on_output)
    if facts.reference != wanted and not dockerfile.exchangeable:
        raise ImageError(f"{wanted} cannot be pulled, and the Dockerfile has no ARG BASE for another", hint=_EXCHANGE, base=wanted)
    return facts


_EXCHANGE = "Begin the Dockerfile with two lines: ARG BASE=<its base> and FROM ${BASE}."


# ---------------------------------------------------------------------------------------------------------------- context


def _add_host_part(
    engine: Engine, context: Path, base: ImageFacts | None, pip_arguments: Sequence[str], cache_dir: Path, on_output: Callable[[str], None]
) -> None:
    host_part = context / ".sluice"
    (host_part / "wheels").mkdir(parents=True)
    write_pip_settings(host_part, on_output)
    _keep_host_part(context / ".dockerignore")
    requirements = context / "requirements.txt"
    if not requirements.is_file() or base is None:
        return
    python = find_base_python(engine, base.reference)
    if not python:
        on_output(f"no Python was found in {base.reference}: no wheels are fetched for requirements.txt")
        return
    for wheel in fetch_wheels(requirements, python, base.architecture, pip_arguments, cache_dir / "wheels", on_output):
        _link_or_copy(wheel, host_part / "wheels" / wheel.name)


@contextmanager
def _build_context(folder: Path, cache_dir: Path) -> Iterator[Path]:
    """A copy of the folder that is readable for every user: a confined container reads its app as another user than who built it."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    # A data home inside the folder would be copied into itself.
    beside = None if folder.resolve() in cache_dir.resolve().parents else cache_dir
    with tempfile.TemporaryDirectory(prefix="sluice-build-", dir=beside) as temporary:
        context = Path(temporary) / "context"
        shutil.copytree(
            folder, context, symlinks=True, ignore=shutil.ignore_patterns(".sluice", "__pycache__"), copy_function=_copy_readable
        )
        _carry_packages(folder, context)
        for path in [context, *context.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        yield context


def _carry_packages(folder: Path, context: Path) -> None:
    """Puts the source of each linked package in the place of its link."""
    links = [path for path in context.rglob("*") if path.is_symlink()]
    for link in links:
        package = (folder / link.relative_to(context)).resolve()
        if (package / "__init__.py").is_file() and folder.resolve() not in package.parents:
            link.unlink()
            shutil.copytree(package, link, symlinks=True, ignore=_all_but_source, copy_function=_copy_readable)


def _all_but_source(folder: str, names: list[str]) -> set[str]:
    """What is not part of a package: anything but Python files, types, tables and pages, and folders of those."""
    kept = {name for name in names if name.endswith((".py", ".typed", ".html", ".csv")) or (Path(folder) / name).is_dir()}
    return {name for name in names if name not in kept or name == "__pycache__" or (Path(folder) / name).is_symlink()}


def _copy_readable(source: str, target: str) -> None:
    """Copies a file, or links a big one that everybody may read already; pipes and sockets are left out."""
    facts = os.lstat(source)
    if not stat.S_ISREG(facts.st_mode):
        return
    if facts.st_size >= _LINK_BYTES and facts.st_mode & 0o444 == 0o444:
        _link_or_copy(Path(source), Path(target))
        return
    shutil.copyfile(source, target)
    Path(target).chmod(0o755 if facts.st_mode & 0o100 else 0o644)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
        target.chmod(stat.S_IMODE(source.stat().st_mode) | 0o444)


def _keep_host_part(dockerignore: Path) -> None:
    """A folder that ignores everything but what it names would lose ``.sluice``."""
    if dockerignore.is_file():
        text = dockerignore.read_text(encoding="utf-8", errors="replace")
        dockerignore.write_text(f"{text.rstrip()}\n!.sluice\n!.sluice/**\n", encoding="utf-8")
