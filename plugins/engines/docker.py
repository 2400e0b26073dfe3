"""Containers on a Docker Engine (20.10 and newer), through its API.

Rules that the engine's habits teach: AutoRemove never, for it destroys exit code and log; a wait is registered before the start; device
errors come at the start and leave the container behind; 137 is not "out of memory"; the truth is always an inspection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from docker.errors import APIError, NotFound

from contracts.dataset import ContainerPaths
from contracts.errors import EngineError, ImageMissingError, StartError
from contracts.image import ImageFacts
from contracts.seams import ContainerSpec, ContainerStats, ContainerStatus, Engine, EngineInfo, ExitWatch, LogChunk
from plugins.engines import docker_gpu_check, docker_gpus, docker_image_store, docker_images, docker_log, docker_spec, docker_status
from plugins.engines.archive import extract
from plugins.engines.docker_client import DockerClient
from plugins.engines.docker_errors import start_hint, translated
from plugins.engines.docker_log import ApiReader
from plugins.engines.docker_watch import DockerWatch


class DockerEngine(Engine):
    """May be used by several threads at a time. Making one contacts nobody."""

    name: ClassVar[str] = "docker"
    capabilities: ClassVar[frozenset[str]] = frozenset({"isolation", "memory_limit", "gpu", "pull", "build"})

    def __init__(self, state_dir: Path = Path()) -> None:
        super().__init__(state_dir)  # keeps no state: the daemon does
        self._client = DockerClient()
        self._api_log = ApiReader(self._log_stream)

    def close(self) -> None:
        """Let go of this thread's connections. Not needed before the end of a process; the next call connects again."""
        self._api_log.close()
        self._client.close()

    def info(self) -> EngineInfo:
        with translated("ask the engine for its version"):
            return docker_status.info_of(self._client.api.version(), self._client.api.info())

    # ----------------------------------------------------------------------------------------------------------- images

    def find_image(self, reference: str) -> ImageFacts | None:
        return docker_images.find(self._client, reference)

    def pull_image(self, reference: str, on_progress: Callable[[str], None]) -> ImageFacts:
        return docker_images.pull(self._client, reference, on_progress)

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

    def create(self, spec: ContainerSpec) -> str:
        for folder in (spec.in_dir, spec.out_dir):
            if not folder.is_dir():
                raise StartError(f"create {spec.name}: there is no folder {folder}", hint="Stage the job again.", folder=str(folder))
        facts = docker_images.need(self._client, spec.image)
        with translated(f"create {spec.name}", StartError, start_hint):
            config = docker_spec.container_config(docker_gpus.settled(spec, self._client.api.info), facts.has_command)
            try:
                return str(self._client.api.create_container_from_config(config, spec.name)["Id"])
            except NotFound as error:
                raise ImageMissingError(f"create {spec.name}: the engine has no image {spec.image}", image=spec.image) from error
            except APIError as error:
                if error.status_code != 409:
                    raise
                return self._adopted(spec.name, config, error)

    def _adopted(self, name: str, config: Mapping[str, Any], refusal: APIError) -> str:
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
            inspected = self._client.inspect(container_id)
            answer = None
            if inspected and inspected["State"]["Status"] not in ("exited", "dead"):
                # next-exit, because not-running is true already for what was never started.
                condition = "next-exit" if inspected["State"]["Status"] == "created" else "not-running"
                try:
                    # The engine sends the head of its answer when it has registered the wait.
                    answer = self._client.request("POST", container_id, "wait", {"condition": condition}, read_timeout_s=None)
                except NotFound:
                    answer = None
        return DockerWatch(lambda: self.status(container_id), answer)

    def start(self, container_id: str) -> None:
        doing = f"start container {container_id}"
        with translated(doing, StartError, start_hint):
            inspected = self._client.inspect(container_id)
            if inspected is None:
                raise StartError(f"{doing}: the engine does not have it", hint="It was removed outside Sluice: run the job again.")
            if inspected["State"]["Status"] == "created":  # the engine would run again what has ended
                self._client.api.start(container_id)

    def status(self, container_id: str) -> ContainerStatus:
        with translated(f"inspect container {container_id}"):
            inspected = self._client.inspect(container_id)
        return docker_status.status_of(inspected) if inspected else docker_status.gone_status(container_id)

    def list_containers(self, labels: Mapping[str, str]) -> list[ContainerStatus]:
        wanted = [f"{name}={value}" for name, value in labels.items()]
        return [docker_status.status_of(inspected) for inspected in self._inspect_all({"label": wanted})]

    def gpu_claims(self) -> dict[str, str]:
        """As the seam says; a card that a container was given by index (``--gpus device=1``, or a count) stands under its index."""
        return docker_gpus.claims_of(self._inspect_all({"status": ["running", "paused", "restarting"]}), docker_spec.SPEC_LABEL)

    def gpus_inside(self, image: str, gpu_uuids: Sequence[str], injection: str = "auto") -> tuple[str, ...]:
        return docker_gpu_check.gpus_inside(self, self._client, image, gpu_uuids, injection)

    def _inspect_all(self, filters: Mapping[str, list[str]]) -> list[dict[str, Any]]:
        with translated("list containers"):
            found = self._client.api.containers(all=True, filters=dict(filters))
            inspections = [self._client.inspect(container["Id"]) for container in found]
        return [inspected for inspected in inspections if inspected]  # the others were removed meanwhile

    # ----------------------------------------------------------------------------------------------- output, use, files

    def read_log(self, container_id: str, cursor: str) -> LogChunk:
        """As the seam says; ``docker_log`` tells what happens when the engine drops old output before it was read."""
        with translated(f"read the log of container {container_id}"):
            inspected = self._client.inspect(container_id)
            if inspected is None:
                return LogChunk(b"", cursor)
            path = inspected.get("LogPath") or ""
            if docker_log.can_read_files(path):
                return docker_log.read_files(Path(path), cursor)
            return self._api_log.read(container_id, cursor)

    def _log_stream(self, container_id: str, since: str) -> Iterator[bytes]:
        params = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": "0", "tail": "all", "since": since}
        with self._client.stream(container_id, "logs", params) as chunks:
            yield from chunks

    def stats(self, container_id: str) -> ContainerStats:
        with translated(f"ask for the resources of container {container_id}"):
            try:
                return docker_status.stats_of(self._client.api.stats(container_id, stream=False, one_shot=True))
            except NotFound:
                return ContainerStats()

    def copy_out(self, container_id: str, container_path: str, host_dir: Path) -> list[Path]:
        """As the seam says; what is copied lies at ``host_dir/<last part of container_path>``. Raises ``EngineError`` when it is not there."""
        path = "/" + container_path.strip("/")
        with (
            translated(f"copy {path} out of container {container_id}"),
            self._client.stream(container_id, "archive", {"path": path}) as chunks,
        ):
            return extract(chunks, Path(path).name, host_dir)

    # -------------------------------------------------------------------------------------------------------------- end

    def stop(self, container_id: str, grace_s: float) -> None:
        """As the seam says; the engine counts the grace in whole seconds, rounded up."""
        with translated(f"stop container {container_id}"):
            try:
                self._stop(container_id, math.ceil(grace_s))
            except NotFound:
                return
            self._need_ended(container_id)

    def _stop(self, container_id: str, grace_s: int) -> None:
        inspected = self._client.inspect(container_id)
        if inspected is None:
            return
        if inspected["State"]["Status"] == "paused":  # a frozen process cannot act on SIGTERM
            self._client.api.unpause(container_id)
        self._client.api.stop(container_id, timeout=grace_s)

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
                self._client.api.remove_container(container_id, v=True, force=False)
            except NotFound:
                return
            except APIError as error:
                if error.status_code != 409 or "in progress" not in str(error):
                    raise


def _remove_hint(words: str) -> str:
    return "Stop it first." if "running container" in words or "container is running" in words.lower() else ""
