"""The child that talks to NVML: reads one JSON request a line, answers one JSON line each, and tells of Xid errors in lines between them.

It runs alone in its process because a call into the driver can hang for ever, and because a library that was mapped before a driver update
stays wrong. It knows only NVML and ``/proc``; ``plugins.gpus.nvml`` starts it, sets the deadline and kills it.

Request ``{"id": 7}``; answer ``{"id": 7, "cards": [...], ...}`` or ``{"id": 7, "error": "...", "code": 18}``. A card is a dict with fields of
``contracts.gpu.Gpu``, a slice one that follows its card; one that does not answer has only ``index``, ``error``, ``error_code`` and what could be read.
Pairs of cards are ``[uuid, uuid, number]``. A line ``{"event": {...}}`` has the fields of ``contracts.gpu.GpuEvent`` but the sequence.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any, TextIO

import pynvml

from plugins.gpus.nvml_calls import WITHOUT_GPUS, binding_fault
from plugins.gpus.nvml_cards import Reading, read_card
from plugins.gpus.nvml_layout import Layout, RememberedLayout, read_layout
from plugins.gpus.nvml_xids import XidWatch


def main() -> None:
    """Answers until stdin ends, which it does when the parent is gone."""
    lines = _Lines(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # what the driver's library prints must not end up between the answers
    host, fault = _Host(XidWatch(lambda event: lines.write({"event": event}))), binding_fault()
    for line in sys.stdin:
        lines.write({"id": json.loads(line)["id"], **({"error": fault, "code": 0, "is_binding": True} if fault else answer(host))})


def answer(host: _Host) -> dict[str, Any]:
    """Every card, or why there is no reading."""
    try:
        return host.read()
    except pynvml.NVMLError as error:
        if error.value in WITHOUT_GPUS:
            return {"cards": []}
        return {"error": str(error), "code": error.value}
    except Exception as error:  # the parent must get an answer, whatever happens here
        return {"error": f"{type(error).__name__}: {error}", "code": 0}


class _Host:
    """NVML, which stays open: without persistence mode, opening costs seconds for each card."""

    def __init__(self, xids: XidWatch) -> None:
        self._xids = xids
        self._layout = RememberedLayout(read_layout)
        self._is_open = False

    def read(self) -> dict[str, Any]:
        if not self._is_open:
            pynvml.nvmlInit()
            self._is_open = True
        readings = [read_card(index) for index in range(pynvml.nvmlDeviceGetCount())]
        handles = {reading.values["uuid"]: reading.handle for reading in readings if reading.handle is not None}
        layout = self._layout.of(handles)
        return {
            "cards": [values for reading in readings for values in _devices(reading, layout)],
            "driver": layout.driver,
            "topology": layout.topology,
            "nvlinks": layout.nvlinks,
            "events_monitored": self._xids.ensure(handles),
        }


def _devices(reading: Reading, layout: Layout) -> list[dict[str, Any]]:
    """The card, then its slices, which are of the same model in the same place."""
    known = layout.cards.get(reading.values.get("uuid", ""), {})
    of_card = {**known, "index": reading.values["index"], "parent_uuid": reading.values.get("uuid", "")}
    return [{**known, **reading.values}, *({**of_card, **part} for part in reading.slices)]


class _Lines:
    """Both threads write whole lines."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def write(self, message: dict[str, Any]) -> None:
        line = json.dumps(message) + "\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()


if __name__ == "__main__":
    main()
