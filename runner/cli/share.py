"""``sluice share``: who gets how much of the GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from runner.cli.blocks import Block, Line, Table, numbers
from runner.cli.commands import Group
from runner.cli.session import Session, pass_session

Share = Mapping[str, Any]
_NO_LIMIT = -1


def quota(text: str) -> int:
    """An option's whole number from 0, or ``none``."""
    if text.strip().lower() == "none":
        return _NO_LIMIT
    if not (text.isascii() and text.isdigit()):
        raise click.BadParameter(f"{text!r} is no quota: give a whole number from 0, or none.")
    return int(text)


@click.group(cls=Group)
def share() -> None:
    """Show and set who gets how much of the GPUs."""


@share.command("list")
@pass_session
def list_(session: Session) -> None:
    """List the users and projects with a weight, a quota or past use."""
    with session.open_runner() as runner:
        shares = runner.list_shares()
    session.answer(shares, list_blocks)
    if not shares:
        session.hint("sluice share set user NAME --weight 2")


@share.command("set")
@click.argument("kind", type=click.Choice(["user", "project"]))
@click.argument("name")
@click.option("--weight", type=float, help="Its part of the GPUs beside others; 1 is everybody's at first.")
@click.option("--max-gpus", type=quota, metavar="N", help="GPUs it may hold at once, or none for no limit.")
@click.option("--max-jobs", type=quota, metavar="N", help="Jobs it may run at once, or none for no limit.")
@pass_session
def set_(session: Session, kind: str, name: str, weight: float | None, max_gpus: int | None, max_jobs: int | None) -> None:
    """Set the share of a user or project. What is not given stays; jobs that run are left alone."""
    if weight is None and max_gpus is None and max_jobs is None:
        raise click.UsageError("Give at least one of --weight, --max-gpus and --max-jobs.")
    with session.open_runner() as runner:
        changed = runner.set_share(kind, name, weight=weight, max_gpus=max_gpus, max_jobs=max_jobs)
    session.answer(changed, lambda document: list_blocks([document]))


def list_blocks(shares: list[Share]) -> list[Block]:
    """One line per user and project."""
    if not shares:
        return [Line("No shares: everybody has the same weight, and nobody a quota or past use.")]
    columns = ("kind", "name", "weight", "max GPUs", "max jobs", "GPU hours")
    return [Table(columns, [_row(share) for share in shares], numbers("weight", "max GPUs", "max jobs", "GPU hours"))]


def _row(share: Share) -> tuple[Any, ...]:
    return (
        share["kind"],
        share["name"],
        f"{share['weight']:g}",
        share["max_gpus"],
        share["max_jobs"],
        f"{share['usage_gpu_s'] / 3600:.1f}",
    )
