"""The folder in which one job of the process engine is remembered: everything about it that outlives the runner.

Its name is the container's name, so that a name exists once. ``process_supervisor`` says which files are in it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.seams import ContainerStatus
from plugins.engines.process_supervisor import boot_id, start_ticks, write_json

_KILLED = 137


@dataclass(frozen=True)
class Record:
    """One job's folder with what was asked for. ``spec`` holds JSON values only."""

    folder: Path
    spec: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.spec["id"])

    @property
    def name(self) -> str:
        return self.folder.name

    def status(self) -> ContainerStatus:
        """From the files and /proc, whoever started the job."""
        end = self.end()
        running = None if end else self._read("running.json")
        if running and not _alive(running):
            end = self.end() or self._lost(running)  # it may have ended between the two looks
        began = running or end or {}
        return ContainerStatus(
            id=self.id,
            name=self.name,
            state="exited" if end else "running" if running else "created",
            exit_code=end["exit_code"] if end else None,
            error=end.get("error", "") if end else self._start_error(),
            started_at=began.get("started_at"),
            ended_at=end["ended_at"] if end else None,
            labels=self.spec["labels"],
            gpu_uuids=tuple(self.spec["gpu_uuids"]),
        )

    def end(self) -> dict[str, Any] | None:
        end = self._read("exit.json")
        return end and {**(self._read("running.json") or {}), **end}

    def _lost(self, running: dict[str, Any]) -> dict[str, Any]:
        """The supervisor ended without a word: it was killed, which ended the program too, or the machine went down."""
        why = "the machine was restarted" if running["boot"] != boot_id() else "its supervisor was killed"
        output = self.folder / "output.log"
        last_sign = output.stat().st_mtime if output.exists() else running["started_at"]
        return {**running, "exit_code": _KILLED, "ended_at": last_sign, "error": f"the process is gone: {why}"}

    def _start_error(self) -> str:
        file = self.folder / "start-error.txt"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def supervisor_pid(self) -> int | None:
        """The pid while the job runs."""
        running = self._read("running.json")
        return int(running["pid"]) if running and _alive(running) else None

    def signal(self, number: signal.Signals) -> None:
        """To the supervisor, and to nobody who has its pid after it."""
        running = self._read("running.json")
        if not running:
            return
        try:
            handle = os.pidfd_open(running["pid"])
        except ProcessLookupError:
            return
        try:
            if _alive(running):  # the handle is of this very process, and not of one that comes after the look
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)

    def remove(self) -> None:
        """The folder vanishes in one step, then its content."""
        aside = self.folder.with_name(f".removed-{self.name}-{secrets.token_hex(4)}")
        try:
            self.folder.rename(aside)
        except FileNotFoundError:
            return
        shutil.rmtree(aside, ignore_errors=True)

    def _read(self, name: str) -> dict[str, Any] | None:
        return _read_json(self.folder / name)


def make(state_dir: Path, name: str, spec: dict[str, Any]) -> Record | None:
    """A new record under the name, whole from the first moment; None when the name exists."""
    state_dir.mkdir(parents=True, exist_ok=True)
    aside = state_dir / f".new-{name}-{secrets.token_hex(4)}"
    for folder in ("home", "tmp"):
        (aside / folder).mkdir(parents=True)
    write_json(aside / "spec.json", spec)
    try:
        aside.rename(state_dir / name)
    except OSError:  # the name exists, and its folder is not empty
        shutil.rmtree(aside)
        return None
    return Record(state_dir / name, spec)


def find(state_dir: Path, container_id: str) -> Record | None:
    """By id (``<name>.<8 hex digits>``) or by name."""
    for name in (container_id, container_id.rpartition(".")[0]):
        record = _load(state_dir / name) if name and "/" not in name and not name.startswith(".") else None
        if record and container_id in (record.id, record.name):
            return record
    return None


def find_all(state_dir: Path) -> Iterator[Record]:
    for folder in sorted(state_dir.glob("[!.]*")) if state_dir.is_dir() else ():
        if record := _load(folder):
            yield record


def changes(state_dir: Path) -> dict[str, int]:
    """A mark for each record, by name, which is another one after each step of its job."""
    marks = {}
    for folder in state_dir.glob("[!.]*") if state_dir.is_dir() else ():
        with suppress(FileNotFoundError):  # removed at this moment
            marks[folder.name] = folder.stat().st_mtime_ns
    return marks


def labels_of(state_dir: Path, name: str) -> dict[str, str]:
    """{} when there is no such record (any more)."""
    record = find(state_dir, name)
    return dict(record.spec["labels"]) if record else {}


def _load(folder: Path) -> Record | None:
    spec = _read_json(folder / "spec.json")
    return Record(folder, spec) if spec else None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return content if isinstance(content, dict) else None


def _alive(running: dict[str, Any]) -> bool:
    return bool(running["boot"] == boot_id() and start_ticks(running["pid"]) == running["start_ticks"])
