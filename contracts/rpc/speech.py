"""Which version of Sluice and of its messages a process speaks: two that differ must not guess what the other means."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version

from contracts.rpc import sluice_pb2 as pb


def spoken() -> dict[str, str]:
    """``version`` of the distribution, and ``messages``, which changes with any change of ``sluice.proto``."""
    try:
        number = version("sluice")
    except PackageNotFoundError:  # run from a folder that is not installed
        number = "unknown"
    return {"version": number, "messages": hashlib.sha256(pb.DESCRIPTOR.serialized_pb).hexdigest()[:12]}
