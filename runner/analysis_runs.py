"""Analyses that were made, each in a folder of its own below ``<home>/analysis``: the history, and what each left.

``run.json`` says what was asked and how it ended. While it is made its lock is held; a run that says ``running`` and whose lock is free was
killed, and is shown as ``interrupted``.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from contracts.errors import ConflictError, NotFoundError, SluiceError, UnavailableError
from runner.locks import try_lock
from runner.views import time_view

_DOCUMENT = "run.json"


class Run:
    """One analysis that is being made. ``document`` is what ``run.json`` will hold; the maker adds to it."""

    def __init__(self, folder: Path, document: dict[str, Any]) -> None:
        self.folder = folder
        self.document = document

    def write_text(self, name: str, text: str) -> None:
        """A file of the run. Raises ``UnavailableError`` when the disk takes it not."""
        try:
            (self.folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UnavailableError(f"{self.folder / name} cannot be written: {error.strerror}", hint="Is the disk full?") from error


@contextmanager
def running(home: Path, kind: str, asked: Mapping[str, Any]) -> Iterator[Run]:
    """A new run; at the end of the block it has succeeded, or failed with the error that left the block."""
    moment, began = datetime.now(timezone.utc), time.monotonic()
    run_id = f"a{moment:%Y%m%d%H%M%S}{secrets.token_hex(2)}"
    folder = home / "analysis" / "runs" / run_id
    document = {
        "id": run_id,
        "kind": kind,
        **asked,
        "created_at": time_view(moment),
        "duration_s": None,
        "status": "running",
        "error": None,
    }
    lock = _begin(folder, document)
    run = Run(folder, document)
    try:
        yield run
        run.document.update(status="succeeded")
    except BaseException as error:
        said = error.message if isinstance(error, SluiceError) else str(error) or type(error).__name__
        run.document = {**document, "status": "failed", "error": said}
        raise
    finally:
        run.document["duration_s"] = round(time.monotonic() - began, 3)
        _write(folder, run.document)
        os.close(lock)


def list_runs(home: Path) -> list[dict[str, Any]]:
    """The documents of all runs, newest first."""
    files = sorted((home / "analysis" / "runs").glob(f"*/{_DOCUMENT}"), reverse=True)
    return [document for file in files if (document := _read(file.parent)) is not None]


def get_run(home: Path, run_id: str) -> dict[str, Any]:
    """The document of one run. Raises ``NotFoundError``."""
    folder = home / "analysis" / "runs" / run_id
    document = _read(folder) if folder.parent == home / "analysis" / "runs" and run_id.isalnum() else None
    if document is None:
        raise NotFoundError(f"there is no analysis {run_id[:80]!r}", hint="`sluice dataset analyses` lists them.", id=run_id[:80])
    return document


def export_run(home: Path, run_id: str, target: Path, *, overwrite: bool) -> list[str]:
    """Copies what a run left into a folder; names the files. Raises ``ConflictError`` for files that exist."""
    get_run(home, run_id)
    sources = {
        file.name: file for file in sorted((home / "analysis" / "runs" / run_id).iterdir()) if file.is_file() and file.name != "lock"
    }
    there = [name for name in sources if (target / name).exists()]
    if there and not overwrite:
        raise ConflictError(f"{target / there[0]} exists", hint="Name another folder, or say --overwrite.")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, source in sources.items():
            shutil.copyfile(source, target / name)
    except OSError as error:
        raise UnavailableError(f"{target} cannot be written: {error.strerror}", hint="Name another folder.") from error
    return list(sources)


def _begin(folder: Path, document: Mapping[str, Any]) -> int:
    """Makes the folder; the descriptor of its lock, which is held."""
    try:
        folder.mkdir(parents=True)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UnavailableError(f"{folder} cannot be made: {error.strerror}", hint="Is the disk full, or the home read-only?") from error
    fcntl.flock(lock, fcntl.LOCK_EX)
    _write(folder, document)
    return lock


def _write(folder: Path, document: Mapping[str, Any]) -> None:
    new = folder / "run.json.new"
    try:
        new.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8", errors="backslashreplace")
        new.rename(folder / _DOCUMENT)
    except OSError as error:
        raise UnavailableError(f"{folder / _DOCUMENT} cannot be written: {error.strerror}", hint="Is the disk full?") from error


def _read(folder: Path) -> dict[str, Any] | None:
    """None for a folder that holds no run, or one whose document somebody broke."""
    try:
        document = dict(json.loads((folder / _DOCUMENT).read_text(encoding="utf-8")))
        if document["status"] == "running" and _is_free(folder / "lock"):
            document = {**document, "status": "interrupted"}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return document


def _is_free(file: Path) -> bool:
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        return try_lock(descriptor)
    finally:
        os.close(descriptor)
