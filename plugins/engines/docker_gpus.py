"""GPUs in Docker's words: how a container is given cards, and which ones an inspected container was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError
from contracts.seams import ContainerSpec

INJECTIONS = ("auto", "nvidia", "cdi")
_CDI_KIND = "nvidia.com/gpu"
_VISIBLE = "NVIDIA_VISIBLE_DEVICES"
_NVIDIA_MAJOR = 195


def settled(spec: ContainerSpec, ask_info: Callable[[], Mapping[str, Any]]) -> ContainerSpec:
    """The spec with ``auto`` decided, as ``way_of`` does."""
    return replace(spec, gpu_injection=way_of(spec.gpu_uuids, spec.gpu_injection, ask_info))


def way_of(uuids: Sequence[str], injection: str, ask_info: Callable[[], Mapping[str, Any]]) -> str:
    """``auto`` is CDI where the engine lists every card that is asked for, else the container toolkit's hook.

    The engine's info is asked for only when that decides something. Raises ``ConfigurationError`` for a way that does not exist.
    """
    if injection not in INJECTIONS:
        raise ConfigurationError(f"gpu_injection is {injection!r}", hint=f"Known: {', '.join(INJECTIONS)}.", gpu_injection=injection)
    if not uuids or injection != "auto":
        return injection
    # A list of CDI devices that was written before a MIG change lacks the new slices, or has others.
    return "cdi" if set(uuids) <= set(cdi_cards(ask_info())) else "nvidia"


def give_gpus(config: Mapping[str, Any], uuids: Sequence[str], injection: str) -> dict[str, Any]:
    """The create call with these cards and no others, whatever the image's environment says; without any card for no uuids.

    Many base images say NVIDIA_VISIBLE_DEVICES=all, which gives every card where the nvidia runtime is the engine's default.
    """
    by_hook = bool(uuids) and injection != "cdi"
    environment = [f"{_VISIBLE}={','.join(uuids) if by_hook else 'void'}"]
    if uuids:
        environment.append("CUDA_DEVICE_ORDER=PCI_BUS_ID")  # else CUDA's order differs from nvidia-smi's
    host = {**config.get("HostConfig", {}), **_request(uuids, by_hook)}
    return {**config, "Env": [*config.get("Env", []), *environment], "HostConfig": host}


def _request(uuids: Sequence[str], by_hook: bool) -> dict[str, Any]:
    """Exactly one request, by uuid: of two the last wins, a count always means the first cards, an empty list starts without any."""
    if not uuids:
        return {}
    if by_hook:  # engines before 29 need the capabilities even where the driver is named
        return {"DeviceRequests": [{"Driver": "nvidia", "DeviceIDs": list(uuids), "Capabilities": [["gpu", "compute", "utility"]]}]}
    return {"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": [f"{_CDI_KIND}={uuid}" for uuid in uuids]}]}


# ------------------------------------------------------------------------------------------------------- what was given


def claims_of(inspections: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Card to the names of all containers that were given it, sorted."""
    claims: dict[str, set[str]] = {}
    for inspected in inspections:
        for card in given_gpus(inspected):
            claims.setdefault(card, set()).add(inspected["Name"].lstrip("/"))
    return {card: tuple(sorted(names)) for card, names in claims.items()}


def given_gpus(inspected: Mapping[str, Any]) -> list[str]:
    """The cards a container was given, as it was asked for them: uuids or indexes; ``*`` for all of them.

    The nvidia runtime also reads NVIDIA_VISIBLE_DEVICES, by which an image can take cards without any request.
    """
    host = inspected["HostConfig"]
    found = [card for request in host.get("DeviceRequests") or [] for card in _requested(request)]
    if "nvidia" in (host.get("Runtime") or ""):
        found += _visible(inspected["Config"].get("Env") or [])
    return list(dict.fromkeys(found))


def _requested(request: Mapping[str, Any]) -> list[str]:
    gpu = any("gpu" in group for group in request.get("Capabilities") or [])
    ids = [str(card) for card in request.get("DeviceIDs") or []]
    if request.get("Driver") == "cdi":
        ids = [card.partition("=")[2] for card in ids if card.startswith(f"{_CDI_KIND}=")]
        return ["*" if card == "all" else card for card in ids]
    if not gpu and request.get("Driver") != "nvidia":
        return []
    count = int(request.get("Count") or 0)
    return ["*"] if count < 0 else [str(index) for index in range(count)] or ids  # a count is always the first cards


def _visible(environment: list[str]) -> list[str]:
    values = [entry.partition("=")[2] for entry in environment if entry.startswith(f"{_VISIBLE}=")]
    cards = values[-1].split(",") if values else []
    return ["*" if card == "all" else card for card in cards if card not in ("", "void", "none")]


# --------------------------------------------------------------------------------------------------- what the engine can


def cdi_cards(info: Mapping[str, Any]) -> list[str]:
    """Cards that the engine says it can give by CDI (engines from 28.2 say it), as their specification names them: uuids, indexes, ``all``."""
    devices = [str(device.get("ID")) for device in info.get("DiscoveredDevices") or [] if device.get("Source") == "cdi"]
    return [device.partition("=")[2] for device in devices if device.startswith(f"{_CDI_KIND}=")]


def gpu_advice(info: Mapping[str, Any], devices: Path = Path("/dev")) -> Iterator[str]:
    """What would make jobs with GPUs safer on this engine; nothing on a host without any."""
    here = (devices / "nvidiactl").exists() or any("nvidia" in name for name in info.get("Runtimes") or {})
    # `nvidia-ctk system create-dev-char-symlinks` makes the links by which systemd knows the devices when it reloads.
    linked = any((devices / "char").glob(f"{_NVIDIA_MAJOR}:*"))
    if here and info.get("CgroupDriver") == "systemd" and not linked and not cdi_cards(info):
        yield (
            "`systemctl daemon-reload` takes the GPUs from running containers: let the engine give them by CDI (`nvidia-ctk cdi generate "
            "--output=/etc/cdi/nvidia.yaml`, engine 28.2 or newer; from 25 on with gpu_injection = cdi), or put "
            '"exec-opts": ["native.cgroupdriver=cgroupfs"] into its daemon.json.'
        )
