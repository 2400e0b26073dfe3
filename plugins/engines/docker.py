"""Containers on a Docker Engine (20.10 and newer), through its API.

Rules that the engine's habits teach: AutoRemove never, for it destroys exit code and log; a wait is registered before the start; device
errors come at the start and leave the container behind; 137 is not "out of memory"; the truth is always an inspection.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from contracts.dataset import ContainerPaths
from contracts.errors import EngineError, StartError
from contracts.image import ImageFacts
from contracts.seams import ContainerSpec, ContainerStats, ContainerStatus, Engine, EngineInfo, ExitWatch, LogChunk, PullProgress
from plugins.engines import docker_events, docker_gpu_check, docker_gpus, docker_image_store, docker_images, docker_spec, docker_status
from plugins.engines.archive import extract
from plugins.engines.docker_cgroup import CgroupFolders, find_folders, read_stats
from plugins.engines.docker_client import CONTROL_TIMEOUT_S, DockerClient, name_part
from plugins.engines.docker_errors import start_hint, translated
from plugins.engines.docker_http import Answer, NoAnswer, Refused
from plugins.engines.docker_log_api import ApiReader
from plugins.engines.docker_log_files import LogFiles, can_read_files
from plugins.engines.docker_pull import Pulls
from plugins.engines.docker_watch import DockerWatch
from plugins.engines.remembered import Remembered

_REMEMBERED, _REMEMBERED_WHOLE = 4096, 256
_NEW_S = 60.0  # for so long, what this object created is taken to be unstarted without asking


class DockerEngine(Engine):
    """May be used by several threads at a time. Making one contacts nobody."""

    name: ClassVar[str] = "docker"
    capabilities: ClassVar[frozenset[str]] = frozenset({"isolation", "memory_limit", "gpu", "pull", "build"})

    def __init__(self, state_dir: Path = Path()) -> None:
        super().__init__(state_dir)  # keeps no state: the daemon does
        self._client = DockerClient()
        self._pulls = Pulls(self._client)
        self._log_files = LogFiles()
        self._api_log = ApiReader(self._log_stream)
        # What cannot change, and so is asked for once; a new object would learn the same.
        self._has_command: Remembered[bool] = Remembered(_REMEMBERED)  # by image digest
        self._inspected: Remembered[Mapping[str, Any]] = Remembered(_REMEMBERED_WHOLE)  # by container id, as the next two
        self._ended: Remembered[ContainerStatus] = Remembered(_REMEMBERED)
        self._created_at: Remembered[float] = Remembered(_REMEMBERED)  # monotonic; until the first start
        self._cgroups: Remembered[CgroupFolders | Literal["elsewhere"]] = Remembered(_REMEMBERED)  # of running containers
        self._host_memory_bytes = 0

    def close(self) -> None:
        """Let go of connections and files. Not needed before the end of a process; the next call opens them again."""
        self._log_files.close()
        self._api_log.close()
        self._client.close()

    def info(self) -> EngineInfo:
        with translated("ask the engine for its version"):
            return docker_status.info_of(self._client.get("/version"), self._client.info())

    # ----------------------------------------------------------------------------------------------------------- images

    def find_image(self, reference: str) -> ImageFacts | None:
        facts = docker_images.find(self._client, reference)
        if facts:
            self._has_command.put(facts.digest, facts.has_command)
        return facts

    def pull_image(self, reference: str, on_progress: Callable[[PullProgress], None], timeout_s: float | None = None) -> ImageFacts:
        return self._pulls.pull(reference, on_progress, timeout_s)

    def build_image(self, folder: Path, reference: str, build_args: Mapping[str, str], on_output: Callable[[str], None]) -> ImageFacts:
        return docker_images.build(self._client, folder, reference, build_args, on_output)

    def import_image(self, tar: Path, reference: str) -> ImageFacts:
        return docker_images.import_tar(self._client, tar, reference)

    def list_images(self) -> list[ImageFacts]:
        return docker_image_store.list_all(self._client)

    def remove_image(self, reference: str) -> int:
        return docker_image_store.remove(self._client, reference)

    def read_image_files(self, reference: str, folder: str, max_bytes: int) -> dict[str, bytes]:
        return docker_images.read_files(self._client, reference, folder, max_bytes)

    # ------------------------------------------------------------------------------------------------------- containers

    def container_paths(self, in_dir: Path, out_dir: Path) -> ContainerPaths:  # noqa: ARG002 (the same for every job)
        return ContainerPaths()

    def show_folder(self, folder: Path, container_dir: str) -> str | None:  # noqa: ARG002 (mounted there)
        return container_dir

    def create(self, spec: ContainerSpec) -> str:
        for folder in (spec.in_dir, spec.out_dir):
            if not folder.is_dir():
                raise StartError(f"create {spec.name}: there is no folder {folder}", hint="Stage the job again.", folder=str(folder))
        has_command = self._image_has_command(spec.image)
        with translated(f"create {spec.name}", StartError, start_hint):
            config = docker_spec.container_config(docker_gpus.settled(spec, self._client.info), has_command)
            try:
                container_id = str(self._client.ask("POST", "/containers/create", {"name": spec.name}, config)["Id"])
            except Refused as error:
                if error.status == 404:
                    self._has_command.drop(spec.image)
                    raise docker_images.missing(f"create {spec.name}: the engine has no image {spec.image}", spec.image) from error
                if error.status != 409:
                    raise
                return self._adopted(spec.name, config, error)
        self._created_at.put(container_id, time.monotonic())
        return container_id

    def _image_has_command(self, digest: str) -> bool:
        """An image with a digest never changes: it is asked for once."""
        known = self._has_command.get(digest)
        if known is None:
            known = docker_images.need(self._client, digest).has_command
            self._has_command.put(digest, known)
        return known

    def _adopted(self, name: str, config: Mapping[str, Any], refusal: Refused) -> str:
        existing = self._client.inspect(name)
        if existing is None:
            raise refusal  # removed meanwhile, or another conflict
        if found := docker_spec.differences(existing, config):
            raise StartError(
                f"a container named {name} exists and is not this one: {'; '.join(found)}",
                hint=f"Look at it (`docker inspect {name}`) and remove it (`docker rm -f {name}`).",
                name=name,
            ) from refusal
        return str(existing["Id"])

    def watch(self, container_id: str) -> ExitWatch:
        with translated(f"watch container {container_id}"):
            state = "created" if self._is_new(container_id) else self._state(container_id)
            # next-exit, because not-running is true already for what was never started.
            condition = "next-exit" if state == "created" else "not-running"
            answer = None if state in ("", "exited", "dead") else self._wait_call(container_id, condition)
        return DockerWatch(lambda: self.status(container_id), answer)

    def _wait_call(self, container_id: str, condition: str) -> Answer | None:
        """The engine sends the head of its answer when it has registered the wait."""
        try:
            return self._client.open("POST", f"{_path(container_id)}/wait", {"condition": condition})
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def start(self, container_id: str) -> None:
        """As the seam says. What this object has just created is started without asking for its state first."""
        doing = f"start container {container_id}"
        with translated(doing, StartError, start_hint):
            state = "created" if self._is_new(container_id) else self._state(container_id)
            self._created_at.drop(container_id)  # before the call: whatever comes of it, the next start asks first
            if not state:
                raise StartError(f"{doing}: the engine does not have it", hint="It was removed outside Sluice: run the job again.")
            if state == "created":  # the engine would run again what has ended
                self._client.ask("POST", f"{_path(container_id)}/start")

    def _is_new(self, container_id: str) -> bool:
        created_at = self._created_at.get(container_id)
        return created_at is not None and time.monotonic() - created_at < _NEW_S

    def _state(self, container_id: str) -> str:
        """The engine's own word; '' for what it does not have."""
        inspected = self._client.inspect(container_id)
        return str(inspected["State"]["Status"]) if inspected else ""

    def status(self, container_id: str) -> ContainerStatus:
        with translated(f"inspect container {container_id}"):
            inspected = self._client.inspect(container_id)
        return docker_status.status_of(inspected) if inspected else docker_status.gone_status(container_id)

    def list_containers(self, labels: Mapping[str, str]) -> list[ContainerStatus]:
        """As the seam says. An end is inspected once and remembered: what has exited does not change."""
        with translated("list containers"):
            rows = self._client.get("/containers/json", all=True, filters={"label": _label_filter(labels)})
            found = [self._listed(row) for row in rows]
        return [status for status in found if status]

    def _listed(self, row: Mapping[str, Any]) -> ContainerStatus | None:
        listed = docker_status.listed_status(row)
        if listed.state != "exited":
            return listed
        known = self._ended.get(listed.id)
        if known and docker_status.is_same_end(row, known):
            return known
        inspected = self._client.inspect(listed.id)
        if inspected is None:
            return None  # removed meanwhile
        status = docker_status.status_of(inspected)
        if status.state == "exited":
            self._ended.put(listed.id, status)
        return status

    def hints(self, labels: Mapping[str, str], stop: Callable[[], bool]) -> Iterator[str]:
        """As the seam says, from the engine's events; on an engine that is not at a local socket a '' each second."""
        with translated("listen to the engine's events"):
            if not self._client.is_local:
                yield from super().hints(labels, stop)
            yield from docker_events.names(self._client, _label_filter(labels), stop)

    def gpu_claims(self) -> dict[str, tuple[str, ...]]:
        """As the seam says; a card that a container was given by index (``--gpus device=1``, or a count) stands under its index."""
        with translated("list containers"):
            rows = self._client.get("/containers/json", filters={"status": ["running", "paused", "restarting"]})
            inspections = [self._made_as(row["Id"]) for row in rows]
        return docker_gpus.claims_of(inspected for inspected in inspections if inspected)

    def _made_as(self, container_id: str) -> Mapping[str, Any] | None:
        """An inspection for what a container keeps as long as it lives, such as its cards: asked for once."""
        known = self._inspected.get(container_id)
        if known is None and (known := self._client.inspect(container_id)):
            self._inspected.put(container_id, known)
        return known

    def gpus_inside(self, image: str, gpu_uuids: Sequence[str], injection: str = "auto") -> tuple[str, ...]:
        return docker_gpu_check.gpus_inside(self, self._client, image, gpu_uuids, injection)

    # ----------------------------------------------------------------------------------------------- output, use, files

    def read_log(self, container_id: str, cursor: str) -> LogChunk:
        """As the seam says; ``docker_log`` tells what happens when the engine drops old output before it was read."""
        with translated(f"read the log of container {container_id}"):
            chunk = self._log_files.read(container_id, cursor)
            if chunk is not None:
                return chunk
            inspected = self._client.inspect(container_id)
            if inspected is None:
                return LogChunk(b"", cursor)
            path = inspected.get("LogPath") or ""
            if can_read_files(path):
                return self._log_files.open(inspected["Id"], Path(path), cursor)
            return self._api_log.read(container_id, cursor)

    def _log_stream(self, container_id: str, since: str) -> Iterator[bytes]:
        params = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": "0", "tail": "all", "since": since}
        with self._client.open("GET", f"{_path(container_id)}/logs", params) as answer:
            yield from answer.pieces()

    def stats(self, container_id: str) -> ContainerStats:
        """As the seam says: from the kernel's files where they are on this machine, else from the engine, which takes a second."""
        with translated(f"ask for the resources of container {container_id}"):
            folders = self._cgroup_of(container_id)
            try:
                if folders != "elsewhere":
                    return read_stats(folders, self._host_memory())
            except (OSError, ValueError, KeyError):  # it ended, or this kernel counts otherwise
                self._cgroups.drop(container_id)
            try:
                raw = self._client.get(f"{_path(container_id)}/stats", **{"stream": False, "one-shot": True})
            except Refused as error:
                if error.status in (404, 409):
                    return ContainerStats()
                raise
            return docker_status.stats_of(raw, self._host_memory())

    def _cgroup_of(self, container_id: str) -> CgroupFolders | Literal["elsewhere"]:
        """Asked for once while the container runs; a container that is started again gets new ones of the same name."""
        known = self._cgroups.get(container_id)
        if known is None:
            inspected = self._client.inspect(container_id)
            pid = int(inspected["State"]["Pid"]) if inspected else 0
            known = find_folders(str(inspected["Id"]), pid) if inspected and pid else None
            known = known or "elsewhere"
            if pid:
                self._cgroups.put(container_id, known)
        return known

    def _host_memory(self) -> int:
        if not self._host_memory_bytes:
            self._host_memory_bytes = int(self._client.info().get("MemTotal") or 0)
        return self._host_memory_bytes

    def copy_out(self, container_id: str, container_path: str, host_dir: Path) -> list[Path]:
        """As the seam says; what is copied lies at ``host_dir/<last part of container_path>``. Raises ``EngineError`` when it is not there."""
        path = "/" + container_path.strip("/")
        with (
            translated(f"copy {path} out of container {container_id}"),
            self._client.open("GET", f"{_path(container_id)}/archive", {"path": path}) as answer,
        ):
            return extract(answer.pieces(), Path(path).name, host_dir)

    # -------------------------------------------------------------------------------------------------------------- end

    def stop(self, container_id: str, grace_s: float) -> None:
        """As the seam says; the engine counts the grace in whole seconds, rounded up."""
        with translated(f"stop container {container_id}"):
            try:
                self._stop(container_id, math.ceil(grace_s))
            except Refused as error:
                if error.status != 404 and error.status < 500:
                    raise
                self._need_ended(container_id)
            except NoAnswer as error:
                if not isinstance(error.__cause__, TimeoutError):
                    raise
                self._need_ended(container_id)

    def _stop(self, container_id: str, grace_s: int) -> None:
        """Does nothing, too, to what has ended or was never started: the engine says 304 to that."""
        try:
            self._stop_call(container_id, grace_s)
        except Refused as error:
            if "paused" not in error.words:
                raise
            # A frozen process cannot act on SIGTERM.
            self._client.ask("POST", f"{_path(container_id)}/unpause")
            self._stop_call(container_id, grace_s)

    def _stop_call(self, container_id: str, grace_s: int) -> None:
        self._client.ask("POST", f"{_path(container_id)}/stop", {"t": grace_s}, timeout_s=CONTROL_TIMEOUT_S + grace_s)

    def _need_ended(self, container_id: str) -> None:
        inspected = self._client.inspect(container_id)
        if inspected and inspected["State"]["Running"]:
            raise EngineError(
                f"container {container_id} did not end although it was killed",
                hint="A process of it hangs in the kernel (a lost disk or GPU): see `dmesg`.",
            )

    def remove(self, container_id: str) -> None:
        with translated(f"remove container {container_id}", hint_for=_remove_hint):
            try:
                self._client.ask("DELETE", _path(container_id), {"v": True})
            except Refused as error:
                if error.status != 404 and (error.status != 409 or "in progress" not in error.words):
                    raise
        self._created_at.drop(container_id)
        self._cgroups.drop(container_id)
        self._log_files.forget(container_id)


def _path(container_id: str) -> str:
    return f"/containers/{name_part(container_id)}"


def _label_filter(labels: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in labels.items()]


def _remove_hint(words: str) -> str:
    return "Stop it first." if "running container" in words or "container is running" in words.lower() else ""
