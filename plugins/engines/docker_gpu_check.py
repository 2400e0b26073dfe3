"""Whether the engine can give a card to a container, tried: what a job would find out at its start."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from contracts.errors import EngineError, StartError
from contracts.seams import ContainerStatus, Engine
from plugins.engines.docker_client import DockerClient
from plugins.engines.docker_errors import start_hint, translated
from plugins.engines.docker_gpus import give_gpus, way_of
from plugins.engines.docker_http import Refused

#: Marks the containers that are made here; one that is found later was left by a kill.
CHECK_LABEL = "sluice.gpu-check"
_PATIENCE_S = 60.0
_CARD = re.compile(r"^(?P<slice>\s+MIG|GPU) .*\(UUID: (?P<uuid>[^)]+)\)", re.MULTILINE)


def gpus_inside(engine: Engine, client: DockerClient, image: str, uuids: Sequence[str], injection: str) -> tuple[str, ...]:
    """As the seam says."""
    _remove_leftovers(client)
    with _made(client, image, uuids, injection) as container_id:
        with engine.watch(container_id) as watch:
            engine.start(container_id)
            status = watch.wait(_PATIENCE_S)
        said = engine.read_log(container_id, "").data.decode(errors="replace")
    _check_ended_well(status, said)
    return tuple(_listed(said))


def _listed(said: str) -> Iterator[str]:
    """The uuids in the words of ``nvidia-smi -L``: of a card that is cut into slices only theirs, for it cannot be used itself."""
    lines = list(_CARD.finditer(said))
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        if line["slice"] != "GPU" or following is None or following["slice"] == "GPU":
            yield line["uuid"]


def _check_ended_well(status: ContainerStatus | None, said: str) -> None:
    if status is None:
        raise EngineError(
            f"nvidia-smi did not end in a container within {_PATIENCE_S:g} s",
            hint="Try `nvidia-smi` on the host; look at `dmesg` for Xid lines.",
        )
    if status.exit_code:
        words = " ".join(said.split()) or f"exit code {status.exit_code}"
        raise EngineError(
            f"nvidia-smi failed in a container that was given a GPU: {words}",
            hint="The NVIDIA Container Toolkit did not bring the driver's programs: bring it up to date, and restart the engine.",
            exit_code=status.exit_code,
        )


@contextmanager
def _made(client: DockerClient, image: str, uuids: Sequence[str], injection: str) -> Iterator[str]:
    with translated("make a container with a GPU", StartError, start_hint):
        config = give_gpus(_CONFIG, uuids, way_of(uuids, injection, client.info))
        user = f"{os.getuid()}:{os.getgid()}"
        container_id: str = client.ask("POST", "/containers/create", body={**config, "Image": image, "User": user})["Id"]
    try:
        yield container_id
    finally:
        with translated(f"remove container {container_id}"):
            client.remove(container_id)


# SECURITY: nothing of the image runs but its shell, and that as confined as a job.
_CONFIG: dict[str, Any] = {
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": ["nvidia-smi -L"],
    "Labels": {CHECK_LABEL: "1"},
    "HostConfig": {
        "NetworkMode": "none",
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "PidsLimit": 64,
    },
}


def _remove_leftovers(client: DockerClient, older_than_s: float = 10 * _PATIENCE_S) -> None:
    """A younger one may be another program's, at work."""
    with translated("remove leftover containers"):
        for container in client.get("/containers/json", all=True, filters={"label": [CHECK_LABEL]}):
            if container["Created"] < time.time() - older_than_s:
                with suppress(Refused):  # somebody else removes it too
                    client.remove(container["Id"])
