"""What NVML's error numbers mean for us, calls that may go unanswered, and which bindings are refused."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, TypeVar

import pynvml

_GPU_NOT_FOUND = 28  # a binding that is refused may not know it
#: No driver, no library, no card: a host without GPUs, which is not an error.
WITHOUT_GPUS = {pynvml.NVML_ERROR_DRIVER_NOT_LOADED, pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, _GPU_NOT_FOUND}
#: The driver is older than the call.
TOO_OLD = {pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH}
#: This user may not know; OPERATING_SYSTEM is a card that a control group keeps away.
HIDDEN = {pynvml.NVML_ERROR_NO_PERMISSION, pynvml.NVML_ERROR_OPERATING_SYSTEM}
#: The card is unusable, whichever call says so.
BROKEN = {pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED}

_PROCESS_BYTES = 24
_BINDING = "nvidia-ml-py"
_OLDEST = "12.560.30"

Value = TypeVar("Value")


def code_of(error: pynvml.NVMLError) -> str:
    """The ``error_code`` of ``contracts.gpu.Gpu`` for a card whose call failed so."""
    return "lost" if error.value in BROKEN else "no_permission" if error.value in HIDDEN else "unknown"


def or_none(call: Callable[..., Value], *arguments: Any) -> Value | None:
    """What the call answers; None when it fails, unless because the card is broken, which raises."""
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        if error.value in BROKEN:
            raise
        return None


def or_unknown(call: Callable[..., Value], *arguments: Any) -> Value | None:
    """None when the call fails, for whatever reason."""
    try:
        return call(*arguments)
    except pynvml.NVMLError:
        return None


def binding_fault() -> str:
    """Why the installed nvidia-ml-py cannot be used, '' for one that can.

    Version 12.535.77 describes a process with 40 bytes where drivers write 24: the second of a list has the pid 2147483648, the others are
    missing or as wrong. Its struct tells, and does so of any other binding that should come to err like this.
    """
    known = getattr(pynvml, "c_nvmlProcessInfo_v2_t", None)
    if known is not None and ctypes.sizeof(known) == _PROCESS_BYTES:
        return ""
    return f"the installed {_BINDING} {_installed_version()} reads wrong process ids from the driver: {_BINDING} >= {_OLDEST} is needed"


def _installed_version() -> str:
    from importlib import metadata  # slow to import, and needed only here

    try:
        return metadata.version(_BINDING)
    except metadata.PackageNotFoundError:
        return "of unknown version"
