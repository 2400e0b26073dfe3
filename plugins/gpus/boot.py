"""Which boot of the host this is."""

from __future__ import annotations

from pathlib import Path

_FILE = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Another one after every boot; '' where the system does not tell."""
    try:
        return _FILE.read_text(encoding="ascii").strip()
    except OSError:
        return ""
