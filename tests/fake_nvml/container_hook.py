"""A stand-in for NVIDIA's container toolkit, for machines without GPUs: the hook that gives a container its cards.

A wrapper of the name ``nvidia-container-runtime-hook`` on dockerd's PATH runs this file before a container's own program, with the container's
state on standard input. The cards that the container is to have stand in its environment; they are looked up in the world of our stand-in for
NVML (``$FAKE_NVML_STATE``); one that is not there is refused in NVIDIA's words. What the container gets is

- a process on each card: a line ``UUID PID BYTES`` in ``$FAKE_NVML_STATE.procs``, which counts while the process lives.
  FAKE_GPU_BYTES in the container's environment says how many bytes; 0 is a container that has not touched its cards yet.
- ``nvidia-smi``, which lists exactly these cards, as ``nvidia-smi -L`` does.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

DEFAULT_BYTES = 4 * 1024**3


def main() -> None:
    state = json.load(sys.stdin)
    config = json.loads((Path(state["bundle"]) / "config.json").read_text(encoding="utf-8"))
    environment = dict(entry.split("=", 1) for entry in config["process"]["env"])  # of an entry that stands there twice the last counts
    world = Path(os.environ["FAKE_NVML_STATE"])
    cards = read_cards(world)
    wanted = environment.get("NVIDIA_VISIBLE_DEVICES", "")
    if wanted in ("", "void", "none"):
        return
    uuids = list(cards) if wanted == "all" else [_uuid_of(word, list(cards)) for word in wanted.split(",")]
    _occupy(world, uuids, state["pid"], int(environment.get("FAKE_GPU_BYTES", DEFAULT_BYTES)))
    _give_nvidia_smi(Path(config["root"]["path"]), [cards[uuid] for uuid in uuids])


def read_cards(world: Path) -> dict[str, str]:
    """Cards and slices by uuid in the world's order, each with its line of ``nvidia-smi -L``."""
    found: dict[str, str] = {}
    for line in world.read_text(encoding="utf-8").splitlines():
        key, _, rest = line.strip().partition(" ")
        if key == "gpu":
            found[rest] = f"GPU {len(found)}: Fake GPU (UUID: {rest})"
        elif key == "migdev":
            uuid = rest.split()[0]
            found[uuid] = f"  MIG slice (UUID: {uuid})"
    return found


def _uuid_of(word: str, uuids: list[str]) -> str:
    """A uuid as it is, or the card at this index; slices have none."""
    whole = [uuid for uuid in uuids if not uuid.startswith("MIG-")]
    if word.isdigit() and int(word) < len(whole):
        return whole[int(word)]
    if word not in uuids:
        sys.exit(f"nvidia-container-cli: device error: {word}: unknown device")
    return word


def _occupy(world: Path, uuids: list[str], pid: int, used_bytes: int) -> None:
    if not used_bytes:
        return
    lines = "".join(f"{uuid} {pid} {used_bytes}\n" for uuid in uuids)
    with Path(f"{world}.procs").open("a", encoding="ascii") as procs:
        procs.write(lines)  # one write: several containers may start at a time


def _give_nvidia_smi(root: Path, lines: list[str]) -> None:
    program = root / "usr" / "bin" / "nvidia-smi"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("#!/bin/sh\ncat <<'CARDS'\n" + "\n".join([*lines, "CARDS", ""]), encoding="utf-8")
    program.chmod(0o755)


if __name__ == "__main__":
    main()
