"""What stays the same on a host: names, addresses, and how close its cards are to each other. Remembered for a minute."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import pynvml

from plugins.gpus.nvml_calls import or_unknown

MAX_AGE_S = 60.0
_MOST_LINKS = 36  # of one card, over all generations
_NODE_WORDS = 16  # 64 NUMA nodes each
_SWITCH = ""


@dataclass(frozen=True)
class Layout:
    """``cards`` are values of ``contracts.gpu.Gpu`` by uuid. Pairs are ``(uuid, uuid, level or number of links)``; what cannot be read is left out."""

    driver: str = ""
    cards: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    topology: list[tuple[str, str, int]] = field(default_factory=list)
    nvlinks: list[tuple[str, str, int]] = field(default_factory=list)


class RememberedLayout:
    """Reads again after a minute, and when other cards answer or answer in another order. A new driver or boot has a new process."""

    def __init__(self, read: Callable[[Mapping[str, Any]], Layout], now: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._now = now
        self._uuids: tuple[str, ...] | None = None
        self._layout = Layout()
        self._read_at = 0.0

    def of(self, handles: Mapping[str, Any]) -> Layout:
        """The layout of the cards with these handles, by uuid."""
        if tuple(handles) != self._uuids or self._now() - self._read_at >= MAX_AGE_S:
            self._layout, self._uuids, self._read_at = self._read(handles), tuple(handles), self._now()
        return self._layout


def read_layout(handles: Mapping[str, Any]) -> Layout:
    """Never raises for a card or a pair: which of them fails, the next reading of the cards says."""
    cards = {uuid: _card(handle) for uuid, handle in handles.items()}
    return Layout(
        driver=or_unknown(pynvml.nvmlSystemGetDriverVersion) or "",
        cards=cards,
        topology=list(_topology(handles)),
        nvlinks=_nvlinks(handles, {card["pci"]: uuid for uuid, card in cards.items()}),
    )


def _card(handle: Any) -> dict[str, Any]:
    capability = or_unknown(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    return {
        "name": or_unknown(pynvml.nvmlDeviceGetName, handle) or "",
        "pci": _address(or_unknown(pynvml.nvmlDeviceGetPciInfo_v3, handle)),
        "numa_node": _numa_node(handle),
        "compute_capability": "{}.{}".format(*capability) if capability else "",
    }


def _address(info: Any) -> str:
    """``00000000:18:00.0``, one spelling for all, for drivers write its letters either way."""
    return str(info.busId).upper() if info else ""


def _numa_node(handle: Any) -> int | None:
    """The first node whose memory is closest. Not nvmlDeviceGetNumaNodeId: that is the node that the card's own memory makes, where it does."""
    words = or_unknown(pynvml.nvmlDeviceGetMemoryAffinity, handle, _NODE_WORDS, pynvml.NVML_AFFINITY_SCOPE_NODE)
    nodes = sum(word << 64 * place for place, word in enumerate(words or ()))
    return (nodes & -nodes).bit_length() - 1 if nodes else None


def _topology(handles: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    for one, other in combinations(handles, 2):
        level = or_unknown(pynvml.nvmlDeviceGetTopologyCommonAncestor, handles[one], handles[other])
        if level is not None:
            yield one, other, level


def _nvlinks(handles: Mapping[str, Any], uuids: Mapping[str, str]) -> list[tuple[str, str, int]]:
    """Links from card to card, or through switches, which connect every card that they have links to with as many."""
    ends = {uuid: Counter(_link_ends(handle, uuids)) for uuid, handle in handles.items()}
    pairs = ((one, other, ends[one][other] + min(ends[one][_SWITCH], ends[other][_SWITCH])) for one, other in combinations(handles, 2))
    return [found for found in pairs if found[2]]


def _link_ends(handle: Any, uuids: Mapping[str, str]) -> Iterator[str]:
    """The uuid at the other end of each link that is up, '' for a switch."""
    for link in range(_MOST_LINKS):
        is_up = or_unknown(pynvml.nvmlDeviceGetNvLinkState, handle, link)
        if is_up is None:
            return  # the card has no such link, and no further one
        if not is_up:
            continue
        if or_unknown(pynvml.nvmlDeviceGetNvLinkRemoteDeviceType, handle, link) == pynvml.NVML_NVLINK_DEVICE_TYPE_SWITCH:
            yield _SWITCH
        elif uuid := uuids.get(_address(or_unknown(pynvml.nvmlDeviceGetNvLinkRemotePciInfo, handle, link))):
            yield uuid
