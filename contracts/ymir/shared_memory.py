"""How much shared memory a container gets (contract reference 3.1 and 9): nearly every published image asks for 128G."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from contracts.errors import ParameterError
from contracts.job import JobWarning

DEFAULT_BYTES_PER_GPU = 16 * 1024**3

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4, "p": 1024**5}
#: The grammar of docker's --shm-size: 128G, 64g, 2048m, 1.5GiB, 1024 (bytes).
_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?) ?([kmgtp]?)i?b?", re.IGNORECASE)


def shm_bytes(parameters: Mapping[str, Any], gpu_count: int, host_bytes: int) -> tuple[int, list[JobWarning]]:
    """What ``shm_size`` asks for, else 16 GiB for each GPU (once without any); never more than the host has.

    A warning says when the image's wish was cut; the contract's default is cut silently, since nobody asked for it. Raises ``ParameterError``.
    """
    wanted = parameters.get("shm_size")
    if wanted is None or (isinstance(wanted, str) and not wanted.strip()):
        return min(DEFAULT_BYTES_PER_GPU * max(1, gpu_count), host_bytes), []
    size = _parse(wanted)
    if size <= host_bytes:
        return size, []
    message = f"shm_size {wanted} is more memory than the host has: the container gets {host_bytes / 1024**3:.1f} GiB"
    return host_bytes, [JobWarning("shm_size_clamped", message, "config.yaml")]


def _parse(wanted: Any) -> int:
    match = _SIZE.fullmatch(str(wanted).strip()) if isinstance(wanted, (int, float, str)) and not isinstance(wanted, bool) else None
    size = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if size <= 0:
        raise ParameterError(f"shm_size {wanted!r} is not a size", hint="Give a number of bytes, or one with a unit: 128G, 64g, 2048m.")
    return size
