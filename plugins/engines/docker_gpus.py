"""GPUs in Docker's words: how a container is given cards, and which ones an inspected container was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.seams import ContainerSpec


def gpu_request(spec: ContainerSpec) -> dict[str, Any]:
    """Exactly one request, by uuid: of two the last wins, a count always means the first cards, an empty list starts without any."""
    if not spec.gpu_uuids:
        return {}
    request = {"Driver": "nvidia", "DeviceIDs": list(spec.gpu_uuids), "Capabilities": [["gpu", "compute", "utility"]]}
    return {"DeviceRequests": [request]}


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
        ids = [card.partition("=")[2] for card in ids if card.startswith("nvidia.com/gpu=")]
        return ["*" if card == "all" else card for card in ids]
    if not gpu and request.get("Driver") != "nvidia":
        return []
    count = int(request.get("Count") or 0)
    return ["*"] if count < 0 else [str(index) for index in range(count)] or ids  # a count is always the first cards


def _visible(environment: list[str]) -> list[str]:
    values = [entry.partition("=")[2] for entry in environment if entry.startswith("NVIDIA_VISIBLE_DEVICES=")]
    cards = values[-1].split(",") if values else []
    return ["*" if card == "all" else card for card in cards if card not in ("", "void", "none")]
