"""Image folders run as plain processes on this host: for tests and for an image author's inner loop. No wall stands between job and host.

The image is a folder with ``img-man/`` and ``app/``; ``bash start.sh`` runs in its ``app/`` itself, not in a copy. A job is refused when the
folder changed since it was registered; whoever edits it while a job runs changes that job. What a container would bring along is missing: the
host's own Python (the one that runs Sluice) and its packages are what ``python3`` finds.

Kept: the five guarantees of the seam. Not kept, and so not among the capabilities: permissions, read-only /in, limits of memory, processors,
processes and shared memory. GPUs are hidden by environment only: an image that sets CUDA_VISIBLE_DEVICES itself sees other cards.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from contracts.dataset import ContainerPaths
from contracts.errors import EngineError, ImageMissingError, PullError, StartError
from contracts.image import ImageFacts
from contracts.seams import (
    HINT_INTERVAL_S,
    ContainerSpec,
    ContainerStats,
    ContainerStatus,
    Engine,
    EngineInfo,
    ExitWatch,
    LogChunk,
    PullProgress,
)
from plugins.engines import process_folder, process_record, process_supervisor
from plugins.engines.process_record import Record

_CHUNK_BYTES = 1024 * 1024
_LOOK_EVERY_S = 0.05
_HINT_EVERY_S = 0.2
_KILL_WAIT_S = 10.0
_START_TIMEOUT_S = 30.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class ProcessEngine(Engine):
    """``state_dir`` is where jobs are remembered; every process that shall see the same jobs needs the same one."""

    name: ClassVar[str] = "process"
    capabilities: ClassVar[frozenset[str]] = frozenset({"gpu"})

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir.absolute())

    def info(self) -> EngineInfo:
        details = {"state folder": str(self.state_dir), "python": sys.executable, "bash": shutil.which("bash") or "missing"}
        return EngineInfo("process", platform.python_version(), details)

    # ----------------------------------------------------------------------------------------------------------- images

    def find_image(self, reference: str) -> ImageFacts | None:
        """The folder of that path; its digest is over ``img-man/`` and ``app/`` as they are now."""
        return process_folder.find_folder(reference)

    def pull_image(
        self,
        reference: str,
        on_progress: Callable[[PullProgress], None],  # noqa: ARG002
        timeout_s: float | None = None,  # noqa: ARG002
    ) -> ImageFacts:
        raise PullError(f"the process engine cannot pull {reference}: it runs folders", hint="Use an engine that pulls, such as docker.")

    def build_image(
        self,
        folder: Path,
        reference: str,  # noqa: ARG002
        build_args: Mapping[str, str],  # noqa: ARG002
        on_output: Callable[[str], None],
    ) -> ImageFacts:
        """Nothing is built: checks the folder's shape. The facts carry its absolute path as reference, whatever name was asked for."""
        facts = process_folder.check_folder(folder)
        on_output(f"{facts.reference} runs as it is: {facts.size_bytes} bytes, {facts.digest}")
        return facts

    def read_image_files(self, reference: str, folder: str, max_bytes: int) -> dict[str, bytes]:
        if process_folder.find_folder(reference) is None:
            raise ImageMissingError(f"there is no image folder {reference}", hint="Name the folder that holds img-man/ and app/.")
        return process_folder.read_part(reference, folder, max_bytes)

    # ------------------------------------------------------------------------------------------------------- containers

    def container_paths(self, in_dir: Path, out_dir: Path) -> ContainerPaths:
        return ContainerPaths(str(in_dir.absolute()), str(out_dir.absolute()))

    def show_folder(self, folder: Path, container_dir: str) -> str | None:  # noqa: ARG002 - jobs see the host's paths
        return str(folder.absolute())

    def create(self, spec: ContainerSpec) -> str:
        image_dir = _checked(spec)
        wanted = _content(spec, image_dir)
        record = process_record.make(self.state_dir, spec.name, _with_id(wanted, spec.name, self.state_dir))
        if record is not None:
            return record.id
        existing = process_record.find(self.state_dir, spec.name)
        if existing is None:
            raise StartError(f"create {spec.name}: it was removed at the same moment", hint="Run the job again.")
        _refuse_other(existing, wanted)
        return existing.id

    def watch(self, container_id: str) -> ExitWatch:
        return _ProcessWatch(self, container_id)

    def start(self, container_id: str) -> None:
        record = self._need(container_id, StartError)
        if record.status().state != "created":
            return
        (record.folder / "start-error.txt").unlink(missing_ok=True)
        command = [sys.executable, "-IS", process_supervisor.__file__, str(record.folder)]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_START_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StartError(f"start {record.name}: {error}", hint="The machine may be overloaded: run the job again.") from error
        if done.returncode:
            _wait_until_forgotten(record)
            words = done.stderr.decode(errors="replace").strip()
            raise StartError(f"start {record.name}: {words}", hint="Install bash, and keep the image folder where it was registered.")

    def status(self, container_id: str) -> ContainerStatus:
        record = process_record.find(self.state_dir, container_id)
        return record.status() if record else ContainerStatus(id=container_id, name="", state="gone")

    def list_containers(self, labels: Mapping[str, str]) -> list[ContainerStatus]:
        found = [record.status() for record in process_record.find_all(self.state_dir)]
        return [status for status in found if labels.items() <= dict(status.labels).items()]

    def hints(self, labels: Mapping[str, str], stop: Callable[[], bool]) -> Iterator[str]:
        """As the seam says: a folder changes with each step of its job, and they are looked at several times a second."""
        seen, said_at = process_record.changes(self.state_dir), time.monotonic()
        while not stop():
            time.sleep(_HINT_EVERY_S)
            now = process_record.changes(self.state_dir)
            changed = [name for name, mark in now.items() if seen.get(name) != mark]
            names = [name for name in changed if labels.items() <= process_record.labels_of(self.state_dir, name).items()]
            if names or time.monotonic() - said_at >= HINT_INTERVAL_S - _HINT_EVERY_S:
                said_at = time.monotonic()
                yield from names or [""]
            seen = now

    def gpu_claims(self) -> dict[str, tuple[str, ...]]:
        running = [status for status in self.list_containers({}) if status.state == "running"]
        uuids = {uuid for status in running for uuid in status.gpu_uuids}
        return {uuid: tuple(sorted(status.name for status in running if uuid in status.gpu_uuids)) for uuid in uuids}

    # ----------------------------------------------------------------------------------------------- output, use, files

    def read_log(self, container_id: str, cursor: str) -> LogChunk:
        """As the seam says; the cursor is an offset into ``output.log``, to which the job itself writes."""
        record = process_record.find(self.state_dir, container_id)
        output = record.folder / "output.log" if record else None
        if output is None or not output.exists():
            return LogChunk(b"", cursor)
        with output.open("rb") as file:
            file.seek(int(cursor or 0))
            data = file.read(_CHUNK_BYTES)
            return LogChunk(data, str(file.tell()) if data else cursor)

    def stats(self, container_id: str) -> ContainerStats:
        """Of all processes of the job together; pages that they share are counted for each."""
        record = process_record.find(self.state_dir, container_id)
        supervisor = record.supervisor_pid() if record else None
        if supervisor is None:
            return ContainerStats()
        uses = [use for pid in process_supervisor.descendants(supervisor) if (use := _use(pid))]
        return ContainerStats(memory_bytes=sum(use[0] for use in uses), cpu_seconds=sum(use[1] for use in uses), pids=len(uses))

    def copy_out(self, container_id: str, container_path: str, host_dir: Path) -> list[Path]:
        """As the seam says, out of the job's two folders and its image folder; lies at ``host_dir/<last part of container_path>``."""
        spec = self._need(container_id, EngineError).spec
        source = Path(os.path.normpath(container_path))
        if not any(source.resolve().is_relative_to(Path(spec[part]).resolve()) for part in ("in_dir", "out_dir", "cwd")):
            raise EngineError(
                f"copy {container_path}: it is not in a folder of the job", hint=f"Its folders: {spec['in_dir']}, {spec['out_dir']}."
            )
        if not source.exists():
            raise EngineError(f"copy {container_path}: there is no such file or folder")
        return sorted(_copy(source, host_dir.resolve()))

    # -------------------------------------------------------------------------------------------------------------- end

    def stop(self, container_id: str, grace_s: float) -> None:
        """As the seam says; after the grace every process below the job's first is killed too, in whatever session it is."""
        record = process_record.find(self.state_dir, container_id)
        if record is None or record.status().state != "running":
            return
        with self.watch(record.id) as watch:
            record.signal(signal.SIGTERM)
            if watch.wait(grace_s) is not None:
                return
            record.signal(signal.SIGUSR1)
            if watch.wait(_KILL_WAIT_S) is None:
                raise EngineError(
                    f"{record.name} did not end although it was killed", hint="A process of it hangs in the kernel: see `dmesg`."
                )

    def remove(self, container_id: str) -> None:
        record = process_record.find(self.state_dir, container_id)
        if record is None:
            return
        if record.status().state == "running":
            raise EngineError(f"{record.name} runs and cannot be removed", hint="Stop it first.")
        record.remove()

    def supervisor_pid(self, container_id: str) -> int | None:
        """The pid to wait on while the job runs."""
        record = process_record.find(self.state_dir, container_id)
        return record.supervisor_pid() if record else None

    def _need(self, container_id: str, error: type[EngineError]) -> Record:
        record = process_record.find(self.state_dir, container_id)
        if record is None:
            raise error(
                f"there is no process container {container_id}", hint=f"It was removed, or its state folder is not {self.state_dir}."
            )
        return record


class _ProcessWatch(ExitWatch):
    """Needs no registration: the end stands in a file from the moment it happens. Sleeps on the supervisor while there is one."""

    def __init__(self, engine: ProcessEngine, container_id: str) -> None:
        self._engine = engine
        self._container_id = container_id

    def wait(self, timeout_s: float) -> ContainerStatus | None:
        end = time.monotonic() + timeout_s
        while (status := self._engine.status(self._container_id)).state not in ("exited", "gone"):
            left = end - time.monotonic()
            if left <= 0:
                return None
            self._sleep(left)
        return status

    def _sleep(self, left_s: float) -> None:
        with _pid_handle(self._engine.supervisor_pid(self._container_id)) as handle:
            poll = select.poll()
            if handle is not None:
                poll.register(handle, select.POLLIN)
            poll.poll(1000 * min(left_s, 1.0 if handle is not None else _LOOK_EVERY_S))

    def close(self) -> None:
        """Nothing is held between two waits."""


# ---------------------------------------------------------------------------------------------------------------- create


def _checked(spec: ContainerSpec) -> Path:
    """The image folder. Raises when it is not what was registered, or a folder of the job is missing."""
    if not _NAME.fullmatch(spec.name):
        raise StartError(f"{spec.name!r} cannot be a container's name", hint="Use letters, digits, '_', '.', '-'.")
    for folder in (spec.in_dir, spec.out_dir):
        if not folder.is_dir():
            raise StartError(f"create {spec.name}: there is no folder {folder}", hint="Stage the job again.", folder=str(folder))
    facts = process_folder.find_folder(spec.reference)
    if facts is None:
        raise ImageMissingError(f"there is no image folder {spec.reference!r}", hint="Put it back, or add the image again.")
    if facts.digest != spec.image:
        raise ImageMissingError(
            f"the image folder {spec.reference} changed since it was registered",
            hint="Add the image again (`sluice image add`), then run the job again.",
            registered=spec.image,
            found=facts.digest,
        )
    return Path(spec.reference).resolve()


def _content(spec: ContainerSpec, image_dir: Path) -> dict[str, Any]:
    return {
        "image": spec.image,
        "labels": dict(spec.labels),
        "in_dir": str(spec.in_dir.absolute()),
        "out_dir": str(spec.out_dir.absolute()),
        "gpu_uuids": list(spec.gpu_uuids),
        "argv": ["bash", "start.sh"],
        "cwd": str(image_dir / "app"),
    }


def _with_id(content: Mapping[str, Any], name: str, state_dir: Path) -> dict[str, Any]:
    return {**content, "id": f"{name}.{secrets.token_hex(4)}", "env": _environment(content, state_dir / name)}


def _environment(content: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """All that the job gets: small, the same on every host, and nothing of the caller's secrets."""
    cards = ",".join(content["gpu_uuids"])
    system_path = os.environ.get("PATH") or os.defpath
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}  # where CUDA lies on some hosts
    return kept | {
        "PATH": f"{Path(sys.executable).parent}:{system_path}",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "DEFAULT_ENV_FILE_PATH": f"{content['in_dir']}/env.yaml",
        "CUDA_VISIBLE_DEVICES": cards,
        "NVIDIA_VISIBLE_DEVICES": cards or "void",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _refuse_other(existing: Record, wanted: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        if existing.spec.get(key) != value:
            raise StartError(
                f"a container named {existing.name} exists and is not this one: its {key} is {existing.spec.get(key)!r}, wanted {value!r}",
                hint="Remove it, or run the job under a new attempt.",
                name=existing.name,
            )


# ----------------------------------------------------------------------------------------------------------------- small


def _wait_until_forgotten(record: Record) -> None:
    """After a failed start its supervisor still has its record to take back."""
    end = time.monotonic() + 2.0
    while (record.folder / "running.json").exists() and time.monotonic() < end:
        time.sleep(0.01)


@contextmanager
def _pid_handle(pid: int | None) -> Iterator[int | None]:
    try:
        handle = os.pidfd_open(pid) if pid else None
    except ProcessLookupError:
        handle = None
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


def _use(pid: int) -> tuple[int, float] | None:
    """Resident bytes and processor seconds of a process; None when it is gone or a zombie."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        fields = Path(f"/proc/{pid}/stat").read_bytes().decode(errors="replace").rpartition(")")[2].split()
    except (OSError, IndexError):
        return None
    ticks = sum(int(field) for field in fields[11:15])  # its own and its ended children's, user and system
    return pages * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK")


def _copy(source: Path, host_dir: Path) -> Iterator[Path]:
    """Regular files only: links are left out, and so is everything else that is not a file or a folder."""
    roots = [(Path(folder), names) for folder, _, names in os.walk(source)] if source.is_dir() else [(source.parent, [source.name])]
    for folder, names in roots:
        for name in names:
            file = folder / name
            if file.is_symlink() or not file.is_file():
                continue
            target = host_dir / file.relative_to(source.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            yield Path(shutil.copyfile(file, target))
