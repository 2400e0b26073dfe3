"""The container that a spec asks for, as Docker's API spells it (contract reference 3.1: no command, no entrypoint, no working directory)."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from typing import Any

from contracts.seams import ContainerSpec
from plugins.engines.docker_gpus import give_gpus

#: Our own label: tells whether a container of the same name was made from the same spec.
SPEC_LABEL = "sluice.spec"
#: Marks containers that exist only to read files out of an image; one that is found was left by a kill.
READER_LABEL = "sluice.reader"

#: An image with neither CMD nor ENTRYPOINT is started as the contract names its entry (contract reference 2.1).
_FALLBACK_COMMAND = ["bash", "/usr/bin/start.sh"]
_LOG = {"max-size": "64m", "max-file": "5", "compress": "false"}  # read_log follows the rotated files, but not compressed ones


def container_config(spec: ContainerSpec, has_command: bool) -> dict[str, Any]:
    """The body of the create call."""
    config: dict[str, Any] = {
        "Image": spec.image,
        "User": _user(spec),
        "Env": _environment(spec),
        "Labels": dict(spec.labels),
        "StopSignal": "SIGTERM",
        "StopTimeout": math.ceil(spec.stop_grace_s),
        "Tty": False,
        "OpenStdin": False,
        "HostConfig": _host_config(spec),
    }
    if not has_command:
        config["Cmd"] = _FALLBACK_COMMAND
    # The cards, but not the way they are given: that may be another one when a restarted runner looks for its container.
    config["Labels"][SPEC_LABEL] = _fingerprint({**config, "gpus": spec.gpu_uuids})
    return give_gpus(config, spec.gpu_uuids, spec.gpu_injection)


def _user(spec: ContainerSpec) -> str:
    return "0:0" if spec.permissions.root else f"{os.getuid()}:{os.getgid()}"


def _environment(spec: ContainerSpec) -> list[str]:
    """Nothing but what confinement needs: the image's own environment stays as it is."""
    return [] if spec.permissions.root else ["HOME=/tmp"]  # the caller's uid has no home in the image


def _host_config(spec: ContainerSpec) -> dict[str, Any]:
    allowed = spec.permissions
    config: dict[str, Any] = {
        "Mounts": [
            _bind(str(spec.in_dir.resolve()), "/in", read_only=True),
            _bind(str(spec.out_dir.resolve()), "/out"),
            *(
                _bind(str(path.resolve()), place, read_only=True)
                for place, path in sorted({**spec.read_only_folders, **spec.read_only_files}.items())
            ),
        ],
        "ShmSize": spec.shm_bytes,
        "IpcMode": "private",
        "Init": True,  # reaps orphans and passes SIGTERM on
        "NetworkMode": "bridge" if allowed.network else "none",
        # SECURITY: no permission ever lifts this one.
        "SecurityOpt": ["no-new-privileges"],
        # Images that run as root chown and setuid while they start: they keep the engine's default capabilities.
        "CapDrop": [] if allowed.root else ["ALL"],
        "ReadonlyRootfs": not allowed.writable_root,
        "PidsLimit": spec.pids_limit,
        "AutoRemove": False,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "json-file", "Config": _LOG},
    }
    if not allowed.writable_root:  # /tmp of the container
        config["Tmpfs"] = {"/tmp": "rw,exec,nosuid,nodev,mode=1777"}  # noqa: S108

    return config | _limits(spec)


def _bind(host_dir: str, container_dir: str, read_only: bool = False) -> dict[str, Any]:
    # A mount and not a -v bind: a source that is missing is an error then, and is not created.
    return {"Type": "bind", "Source": host_dir, "Target": container_dir, "ReadOnly": read_only}


def _limits(spec: ContainerSpec) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if spec.memory_bytes is not None:
        limits |= {"Memory": spec.memory_bytes, "MemorySwap": spec.memory_bytes}  # the same value: no swap
    if spec.cpu_count is not None:
        limits["NanoCpus"] = int(spec.cpu_count * 1e9)
    return limits


def _fingerprint(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


# ------------------------------------------------------------------------------------------------------------ adoption


def differences(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Why the inspected container is not the one that is wanted; empty when it can be adopted."""
    labels = existing["Config"].get("Labels") or {}
    found = []
    if existing["Image"] != wanted["Image"]:
        found.append(f"its image is {existing['Image']}, wanted {wanted['Image']}")
    for name, value in wanted["Labels"].items():
        if name != SPEC_LABEL and labels.get(name) != value:
            found.append(f"its label {name} is {labels.get(name)!r}, wanted {value!r}")
    if not found and labels.get(SPEC_LABEL) != wanted["Labels"][SPEC_LABEL]:
        found.append("it was made with other folders, limits, permissions or GPUs")
    return found
