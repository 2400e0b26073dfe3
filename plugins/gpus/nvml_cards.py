"""What changes on a card from one moment to the next: memory, processes, slices, health. Read afresh each time, one card at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pynvml

from plugins.gpus.nvml_calls import HIDDEN, TOO_OLD, code_of, or_none

COMMAND_LENGTH = 200
_RECOVERY_FIELD = 230
_RECOVERY_ACTIONS = ("none", "reset", "reboot", "drain_p2p", "drain_and_reset", "recover_imex_domain", "bus_reset", "system_reboot")
_COMPUTE_MODES = ("default", "exclusive_process", "prohibited", "exclusive_process")  # the second is one thread, which CUDA gave up


@dataclass(frozen=True)
class Reading:
    """One card. ``values`` and those of ``slices`` have the names of ``contracts.gpu.Gpu``; ``handle`` is None when the card did not answer.

    ``values`` of a card that failed has ``error`` and ``error_code`` and whatever was read before, perhaps not even its uuid.
    """

    values: dict[str, Any]
    slices: list[dict[str, Any]] = field(default_factory=list)
    handle: Any = None


def read_card(index: int) -> Reading:
    """Never raises for a card: one that fails says so, and the others go on."""
    values: dict[str, Any] = {"index": index}
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        values["uuid"] = pynvml.nvmlDeviceGetUUID(handle)
        values.update(_mig_mode(handle))
        values.update(_use(handle, is_cut=bool(values["mig_enabled"])))
        values.update(_health(handle))
        values.update(_shown(handle))  # last: their failure loses nothing
        return Reading(values, list(_slices(handle)) if values["mig_enabled"] else [], handle)
    except pynvml.NVMLError as error:
        return Reading({**values, **_failure(error)})


def _failure(error: pynvml.NVMLError) -> dict[str, Any]:
    return {"error": f"{error} (NVML error {error.value})", "error_code": code_of(error)}


def _mig_mode(handle: Any) -> dict[str, Any]:
    current, pending = or_none(pynvml.nvmlDeviceGetMigMode, handle) or (None, None)
    return {"mig_enabled": None if current is None else bool(current), "mig_pending": None if pending is None else bool(pending)}


# ------------------------------------------------------------------------------------------------------- memory and processes


def _use(handle: Any, *, is_cut: bool = False) -> dict[str, Any]:
    """Of a card that is cut into slices the driver tells the sums only to root, and they do not matter."""
    try:
        memory = _memory(handle)
    except pynvml.NVMLError as error:
        if not is_cut or error.value not in HIDDEN | TOO_OLD:
            raise
        memory = {}
    return {**memory, "processes": _processes(handle)}


def _memory(handle: Any) -> dict[str, int]:
    """The first version of the call, all that drivers before 510 have, counts the driver's own reserve as used."""
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError as error:
        if error.value not in TOO_OLD:
            raise
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return {"total_bytes": memory.total, "used_bytes": memory.used, "reserved_bytes": getattr(memory, "reserved", 0)}


def _processes(handle: Any) -> list[dict[str, Any]] | None:
    """Compute, graphics and MPS processes, each pid once. None, for unknown, where the driver hides any or cannot list the compute ones."""
    listed = {kind: _running(handle, kind) for kind in ("Compute", "Graphics", "MPSCompute")}
    if listed["Compute"] is None or any(found is None for found in listed.values()):
        return None
    used: dict[int, int | None] = {}
    for process in (process for found in listed.values() for process in found or ()):
        used[process.pid] = process.usedGpuMemory if used.get(process.pid) is None else used[process.pid]
    return [{"pid": pid, "used_bytes": used_bytes, "command": command_of(pid)} for pid, used_bytes in sorted(used.items())]


def _running(handle: Any, kind: str) -> list[Any] | None:
    """None: hidden, or compute processes of which the driver knows nothing. Other kinds are then simply not there."""
    # Only versioned names: the unversioned ones raise an error outside the NVMLError tree when the driver is older than the binding.
    for version in ("v3", "v3", "v2"):
        try:
            return list(getattr(pynvml, f"nvmlDeviceGet{kind}RunningProcesses_{version}")(handle))
        except pynvml.NVMLError as error:
            if error.value in HIDDEN:
                return None
            # More processes may have started between the call's two questions: ask again.
            if error.value not in TOO_OLD | {pynvml.NVML_ERROR_INSUFFICIENT_SIZE}:
                raise
    return None if kind == "Compute" else []


def command_of(pid: int) -> str:
    """The command line of a process, its first 200 characters; '' when it is gone or hidden."""
    try:
        with Path(f"/proc/{pid}/cmdline").open("rb", buffering=0) as file:
            raw = file.read(COMMAND_LENGTH * 4)
    except OSError:
        return ""
    text = raw.decode("utf-8", "replace").replace("\0", " ").strip()[:COMMAND_LENGTH]
    # SECURITY: any user can name a process; control characters would reach the terminal of whoever lists the cards.
    return text if text.isprintable() else "".join(character if character.isprintable() else "?" for character in text)


# --------------------------------------------------------------------------------------------------------------------- slices


def _slices(handle: Any) -> Iterator[dict[str, Any]]:
    """Every slice that can be addressed. Their handles are never kept: one that is destroyed is given to another slice."""
    for number in range(or_none(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        part = or_none(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
        uuid = None if part is None else or_none(pynvml.nvmlDeviceGetUUID, part)
        if uuid is not None:
            yield {"uuid": uuid, "kind": "mig", **_slice(part)}


def _slice(part: Any) -> dict[str, Any]:
    values = {
        "profile": _profile(part),
        "gpu_instance": or_none(pynvml.nvmlDeviceGetGpuInstanceId, part),
        "compute_instance": or_none(pynvml.nvmlDeviceGetComputeInstanceId, part),
        "compute_mode": _compute_mode(part),
    }
    try:
        return {**values, **_use(part)}
    except pynvml.NVMLError as error:
        return {**values, **_failure(error)}


def _profile(part: Any) -> str:
    """``1g.18gb``: the end of the driver's own name for it, or put together from its size."""
    named = re.search(r" MIG (\S+)$", or_none(pynvml.nvmlDeviceGetName, part) or "")
    if named:
        return named.group(1)
    size = or_none(pynvml.nvmlDeviceGetAttributes_v2, part)
    return f"{size.gpuInstanceSliceCount}g.{-(-size.memorySizeMB // 1024)}gb" if size else ""


# ------------------------------------------------------------------------------------------------------------ health and display


def _health(handle: Any) -> dict[str, Any]:
    rows = or_none(pynvml.nvmlDeviceGetRemappedRows, handle)
    retirement = or_none(pynvml.nvmlDeviceGetRetiredPagesPendingStatus, handle)
    uncorrected = (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
    return {
        "compute_mode": _compute_mode(handle),
        "recovery_action": _recovery_action(handle),
        "ecc_uncorrected": or_none(pynvml.nvmlDeviceGetTotalEccErrors, handle, *uncorrected),
        "remap_pending": None if rows is None else bool(rows[2]),
        "remap_failed": None if rows is None else bool(rows[3]),
        "retirement_pending": None if retirement is None else bool(retirement),
    }


def _compute_mode(handle: Any) -> str:
    """A mode that a driver of tomorrow may have is left to CUDA, which refuses what does not fit."""
    mode = or_none(pynvml.nvmlDeviceGetComputeMode, handle)
    return "default" if mode is None or mode >= len(_COMPUTE_MODES) else _COMPUTE_MODES[mode]


def _recovery_action(handle: Any) -> str:
    """The driver's own verdict; ``action_<number>`` for one that we do not know, which is not to be taken for none."""
    values = or_none(pynvml.nvmlDeviceGetFieldValues, handle, [_RECOVERY_FIELD])
    if not values or values[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return ""
    action = values[0].value.uiVal
    return _RECOVERY_ACTIONS[action] if action < len(_RECOVERY_ACTIONS) else f"action_{action}"


def _shown(handle: Any) -> dict[str, Any]:
    rates = or_none(pynvml.nvmlDeviceGetUtilizationRates, handle)
    power = or_none(pynvml.nvmlDeviceGetPowerUsage, handle)
    return {
        "utilization_fraction": None if rates is None else rates.gpu / 100,
        "temperature_c": or_none(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        "power_w": None if power is None else power / 1000,
    }
