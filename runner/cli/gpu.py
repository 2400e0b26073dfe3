"""``sluice gpu``: the GPUs of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from runner.cli.blocks import Block, Line, Table, numbers
from runner.cli.commands import Group
from runner.cli.session import Session, pass_session
from runner.cli.units import size_text


@click.group(cls=Group)
def gpu() -> None:
    """Show the GPUs and who holds them."""


@gpu.command("list")
@pass_session
def list_(session: Session) -> None:
    """List the GPUs of this machine and who holds each."""
    with session.open_runner() as runner:
        gpus = runner.list_gpus()
    session.answer(gpus, list_blocks)


def list_blocks(gpus: list[Mapping[str, Any]]) -> list[Block]:
    """One line per card."""
    if not gpus:
        return [Line("No GPUs on this machine; jobs run on the CPU.")]
    columns = ("index", "name", "memory", "used", "busy", "temperature", "state", "holder", "uuid")
    return [Table(columns, [_row(card) for card in gpus], numbers("index", "memory", "used", "busy", "temperature"))]


def _row(card: Mapping[str, Any]) -> tuple[Any, ...]:
    busy, temperature = card["utilization_fraction"], card["temperature_c"]
    return (
        card["index"],
        card["name"],
        size_text(card["total_bytes"]),
        size_text(card["used_bytes"]),
        "" if busy is None else f"{busy * 100:.0f} %",
        "" if temperature is None else f"{temperature} °C",
        f"{card['state']}: {card['reason']}" if card["reason"] else card["state"],
        card["holder"],
        card["uuid"],
    )
