"""A stand-in for NVIDIA's container toolkit, for machines without GPUs: the hook that gives a container its cards.

A wrapper of the name ``nvidia-container-runtime-hook`` on dockerd's PATH runs this file before a container's own program, with the container's
state on standard input. The cards that the container is to have stand in its environment; they are looked up in the world of our stand-in for
NVML (``$FAKE_NVML_STATE``), or in ``$FAKE_NVML_STATE.toolkit`` where a test wants the toolkit to know others than the driver does; one that is
not there is refused in NVIDIA's words. What the container gets is

- a process on each card: a line ``UUID PID BYTES`` in ``$FAKE_NVML_STATE.procs``, which counts while the process lives.
  FAKE_GPU_BYTES in the container's environment says how many bytes; 0 is a container that has not touched its cards yet.
- ``nvidia-smi``, which lists exactly these cards, as ``nvidia-smi -L`` does.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

DEFAULT_BYTES = 4 * 1024**3


@dataclass(frozen=True)
class Card:
    """A card, or a slice with the card it is cut from."""

    uuid: str
    parent: str = ""


def main() -> None:
    state = json.load(sys.stdin)
    config = json.loads((Path(state["bundle"]) / "config.json").read_text(encoding="utf-8"))
    environment = dict(entry.split("=", 1) for entry in config["process"]["env"])  # of an entry that stands there twice the last counts
    world = Path(os.environ["FAKE_NVML_STATE"])
    wanted = environment.get("NVIDIA_VISIBLE_DEVICES", "")
    if wanted in ("", "void", "none"):
        return
    own = Path(f"{world}.toolkit")
    cards = read_cards(own if own.exists() else world)
    given = [card for card in cards if not card.parent] if wanted == "all" else [_card_of(word, cards) for word in wanted.split(",")]
    _occupy(world, given, state["pid"], int(environment.get("FAKE_GPU_BYTES", DEFAULT_BYTES)))
    _give_nvidia_smi(Path(config["root"]["path"]), [card for card in cards if card in given])


def read_cards(world: Path) -> list[Card]:
    """Every card, followed by its slices."""
    found: list[Card] = []
    parent = ""
    for line in world.read_text(encoding="utf-8").splitlines():
        key, _, rest = line.strip().partition(" ")
        if key == "gpu":
            parent = rest
            found.append(Card(rest))
        elif key == "migdev":
            found.append(Card(rest.split()[0], parent))
    return found


def _card_of(word: str, cards: list[Card]) -> Card:
    """By uuid, or by index; slices have none here."""
    whole = [card for card in cards if not card.parent]
    if word.isdigit() and int(word) < len(whole):
        return whole[int(word)]
    for card in cards:
        if card.uuid == word:
            return card
    sys.exit(f"nvidia-container-cli: device error: {word}: unknown device")


def _occupy(world: Path, cards: list[Card], pid: int, used_bytes: int) -> None:
    if not used_bytes:
        return
    lines = "".join(f"{card.uuid} {pid} {used_bytes}\n" for card in cards)
    with Path(f"{world}.procs").open("a", encoding="ascii") as procs:
        procs.write(lines)  # one write: several containers may start at a time


def _give_nvidia_smi(root: Path, cards: list[Card]) -> None:
    """As the real one does, it lists them in the order of the driver, and a slice below the card it is cut from."""
    lines: list[str] = []
    for whole in dict.fromkeys(card.parent or card.uuid for card in cards):
        lines.append(f"GPU {len(lines)}: Stand-in (UUID: {whole})")
        lines += [f"  MIG 1g.10gb     Device  0: (UUID: {card.uuid})" for card in cards if card.parent == whole]
    program = root / "usr" / "bin" / "nvidia-smi"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("\n".join(["#!/bin/sh", "cat <<'CARDS'", *lines, "CARDS", ""]), encoding="utf-8")
    program.chmod(0o755)


if __name__ == "__main__":
    main()
