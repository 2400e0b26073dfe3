"""The child that talks to NVML: reads one JSON request a line, answers one JSON line each.

It runs alone in its process because a call into the driver can hang for ever, and because a library that was mapped before a driver update
stays wrong. It knows only NVML and ``/proc``; ``plugins.gpus.nvml`` starts it, sets the deadline and kills it.

Request ``{"id": 7}``; answer ``{"id": 7, "cards": [...]}`` or ``{"id": 7, "error": "...", "code": 18}``. A card is a dict with the fields of
``contracts.gpu.Gpu``; one that does not answer has only ``index``, ``error`` and, where it could be read, ``uuid``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pynvml

COMMAND_LENGTH = 200
#: No driver, no library, no card: a host without GPUs, which is not an error.
_WITHOUT_GPUS = {pynvml.NVML_ERROR_DRIVER_NOT_LOADED, pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_GPU_NOT_FOUND}
#: The driver is too old for a call, or does not tell this user: the value is unknown, the card is well.
_UNKNOWN = {pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND}
#: The card is unusable, whichever call says so.
_BROKEN = {pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED}

Value = TypeVar("Value")


def main() -> None:
    """Answers until stdin ends, which it does when the parent is gone."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the driver's library prints must not end up between the answers
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps({"id": request["id"], **answer()}) + "\n")
        answers.flush()


def answer() -> dict[str, Any]:
    """Every card, or why there is no reading."""
    try:
        return {"cards": read_cards()}
    except pynvml.NVMLError as error:
        if error.value in _WITHOUT_GPUS:
            return {"cards": []}
        return {"error": str(error), "code": error.value}
    except Exception as error:  # the parent must get an answer, whatever happens here
        return {"error": f"{type(error).__name__}: {error}", "code": 0}


_opened = False


def read_cards() -> list[dict[str, Any]]:
    """The cards by index. NVML stays open: without persistence mode, opening costs seconds for each card."""
    global _opened
    if not _opened:
        pynvml.nvmlInit()
        _opened = True
    return [_read_card(index) for index in range(pynvml.nvmlDeviceGetCount())]


def _read_card(index: int) -> dict[str, Any]:
    card: dict[str, Any] = {"index": index}
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        card["uuid"] = pynvml.nvmlDeviceGetUUID(handle)
        card["total_bytes"], card["used_bytes"] = _memory(handle)
        card["processes"] = _processes(handle)
        card["error"] = _why_not_whole(handle)
        card.update(_shown(handle))  # last: their failure loses nothing
    except pynvml.NVMLError as error:
        card["error"] = f"{error} (NVML error {error.value})"
    return card


def _memory(handle: Any) -> tuple[int, int]:
    """Total and used. The first version of the call, all that drivers before 510 have, counts the driver's own reserve as used."""
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError as error:
        if error.value not in _UNKNOWN:
            raise
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return memory.total, memory.used


def _processes(handle: Any) -> list[dict[str, Any]]:
    """Compute, graphics and MPS processes, each pid once; empty where the driver does not tell, and then the memory must."""
    found: dict[int, int | None] = {}
    for kind in ("Compute", "Graphics", "MPSCompute"):
        for process in _running(handle, kind):
            found.setdefault(process.pid, process.usedGpuMemory)
    return [{"pid": pid, "used_bytes": used, "command": command_of(pid)} for pid, used in sorted(found.items())]


def _running(handle: Any, kind: str) -> list[Any]:
    # Only versioned names: the unversioned ones raise an error outside the NVMLError tree when the driver is older than the binding.
    for version in ("v3", "v3", "v2"):
        call = getattr(pynvml, f"nvmlDeviceGet{kind}RunningProcesses_{version}")
        try:
            return list(call(handle))
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_INSUFFICIENT_SIZE:
                continue  # more processes started between its two calls: ask again
            if error.value not in _UNKNOWN:
                raise
    return []


def _why_not_whole(handle: Any) -> str:
    """A card cut into slices cannot be given to a job as a whole."""
    modes = _or_none(pynvml.nvmlDeviceGetMigMode, handle)
    return "MIG mode is on: slices cannot be leased, switch it off to lease the whole card" if modes and any(modes) else ""


def _shown(handle: Any) -> dict[str, Any]:
    rates = _or_none(pynvml.nvmlDeviceGetUtilizationRates, handle)
    return {
        "name": _or_none(pynvml.nvmlDeviceGetName, handle) or "",
        "utilization_fraction": None if rates is None else rates.gpu / 100,
        "temperature_c": _or_none(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
    }


def _or_none(call: Callable[..., Value], *arguments: Any) -> Value | None:
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _BROKEN:
            raise
        return None


def command_of(pid: int) -> str:
    """The command line of a process, its first 200 characters; '' when it is gone or hidden."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()[: COMMAND_LENGTH * 4]
    except OSError:
        return ""
    text = raw.decode("utf-8", "replace").replace("\0", " ").strip()[:COMMAND_LENGTH]
    # SECURITY: any user can name a process; control characters would reach the terminal of whoever lists the cards.
    return "".join(character if character.isprintable() else "?" for character in text)


if __name__ == "__main__":
    main()
