"""Containers with cards, as a test wants them: our own through the plugin, others through the engine's bare API."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker

from contracts.seams import ContainerSpec
from plugins.engines.docker import DockerEngine
from tests.docker.gpus.private_engine import IMAGE
from tests.fake_nvml.world import World

PATIENCE_S = 60.0
#: A job that holds its cards until it is stopped, and ends at once then.
HOLD = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"


class Lab:
    """``folder`` is the test's own; ``engine`` and ``api`` are two ways to one engine, ``image`` the one that containers are made of."""

    def __init__(self, engine: DockerEngine, api: Callable[[], docker.APIClient], folder: Path, image: str = IMAGE) -> None:
        self.engine = engine
        self._api = api
        self._folder = folder
        self._image = image
        self._numbers = itertools.count(1)

    @property
    def api(self) -> docker.APIClient:
        return self._api()

    def spec(self, uuids: Sequence[str], script: str = HOLD, *, name: str = "", image: str = "", **values: Any) -> ContainerSpec:
        """A container of ours that runs ``script``."""
        name = name or f"sluice-lab{next(self._numbers)}-1"
        folder = self._folder / name
        for inner in ("in", "out"):
            (folder / inner).mkdir(parents=True, exist_ok=True)
        (folder / "in" / "run.sh").write_text(script, encoding="utf-8")
        facts = self.engine.find_image(image or self._image)
        assert facts, f"the engine has no {image or self._image}"
        return ContainerSpec(
            name=name, image=facts.digest, in_dir=folder / "in", out_dir=folder / "out", gpu_uuids=tuple(uuids), stop_grace_s=1.0, **values
        )

    def start(self, spec: ContainerSpec) -> str:
        container_id = self.engine.create(spec)
        self.engine.start(container_id)
        return container_id

    def output_of(self, spec: ContainerSpec) -> list[str]:
        """The lines of a container that runs to its end, which must be a good one."""
        container_id = self.engine.create(spec)
        with self.engine.watch(container_id) as watch:
            self.engine.start(container_id)
            status = watch.wait(PATIENCE_S)
        text = self.engine.read_log(container_id, "").data.decode()
        assert status, "it did not end"
        assert status.exit_code == 0, text
        return text.splitlines()

    @contextmanager
    def foreign(
        self, *requests: Mapping[str, Any], name: str = "foreign", image: str = IMAGE, used_bytes: int | None = None, **config: Any
    ) -> Iterator[str]:
        """A container that others started, with these device requests; its id. ``used_bytes`` 0: it has not touched its cards yet."""
        body = {
            "Image": image,
            "Cmd": ["bash", "-c", HOLD],
            "Env": [] if used_bytes is None else [f"FAKE_GPU_BYTES={used_bytes}"],
            "HostConfig": {"NetworkMode": "none", "DeviceRequests": [{"Capabilities": [["gpu"]], **request} for request in requests]},
            **config,
        }
        container_id: str = self.api.create_container_from_config(body, name)["Id"]
        self.api.start(container_id)
        yield container_id
        self.api.remove_container(container_id, force=True)

    def run_in(self, container_id: str, *command: str) -> list[str]:
        """The lines that a further program in a running container says."""
        said: bytes = self.api.exec_start(self.api.exec_create(container_id, list(command))["Id"])
        return said.decode().splitlines()


def hide_from_toolkit(world: World, *uuids: str) -> None:
    """The container toolkit does not know these cards, which NVML shows."""
    own = World(Path(f"{world.path}.toolkit"))
    own.cards = [card for card in world.cards if card.uuid not in uuids]
    own.write()
