"""``sluice gc``: free what nothing needs any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from runner.cli.blocks import Block, Line, Table, numbers
from runner.cli.commands import Command
from runner.cli.options import GC_EXTRA, GC_USUAL, days, parts
from runner.cli.session import Session, pass_session
from runner.cli.units import size_text


@click.command(cls=Command)
@click.option("--dry-run", is_flag=True, help="Change nothing: only show what would go, and why.")
@click.option(
    "--older-than",
    "older_than_days",
    type=days,
    default="30",
    metavar="DAYS",
    help="Of jobs, only those that ended more than so many days ago (default: 30).",
)
@click.option(
    "--what", type=parts, default="", metavar="A,B", help=f"Only some of {', '.join((*GC_USUAL, *GC_EXTRA))} (default: the first three)."
)
@click.option("--all", "everything", is_flag=True, help="The same as naming all five.")
@pass_session
def gc(session: Session, dry_run: bool, older_than_days: float, what: tuple[str, ...], everything: bool) -> None:
    """Free what nothing needs any more: folders of old jobs, images, assets.

    \b
      runs     what jobs that ended long ago were given and left; their logs,
               job.json and rows stay, and models and predictions lie elsewhere
      images   what a registered name pointed to before, and images of removed
               names that jobs in this home used
      assets   pictures that no dataset version refers to, and what killed
               processes left, after a day
      records  the logs and job.json of these jobs, too
      built    images that Sluice built and nothing in this home ever used;
               another home may

    \b
      sluice gc --dry-run
      sluice gc --older-than 7 --what runs
    """
    with session.open_runner() as runner:
        freed = runner.gc(dry_run=dry_run, older_than_days=older_than_days, what=(*GC_USUAL, *GC_EXTRA) if everything else what)
    session.answer(freed, freed_blocks)


def freed_blocks(freed: Mapping[str, Any]) -> list[Block]:
    """What goes or went, the sum, and what was kept although nothing needs it."""
    blocks: list[Block] = []
    if freed["items"]:
        rows = [(row["what"], size_text(row["bytes"]), _place(row), row["why"]) for row in freed["items"]]
        blocks = [Table(("what", "size", "where", "why"), rows, numbers("size")), Line()]
    if freed["kept"]:
        kept = [(row["what"], _place(row), row["why"]) for row in freed["kept"]]
        blocks += [Line("kept, though nothing seems to need it"), Table(("what", "where", "why"), kept, indent=2), Line()]
    return [*blocks, Line(_sum_text(freed))]


def _sum_text(freed: Mapping[str, Any]) -> str:
    if not freed["items"]:
        return "Nothing to free."
    size = size_text(freed["freed_bytes"])
    return f"{size} would be freed; nothing was changed." if freed["dry_run"] else f"{size} freed."


def _place(row: Mapping[str, Any]) -> str:
    return str(row.get("path") or row.get("reference"))
