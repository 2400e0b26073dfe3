"""``sluice doctor``: what of this machine works, and what to do where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from runner.cli.blocks import Block, Line
from runner.cli.commands import Command
from runner.cli.session import Session, pass_session

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


@click.command(cls=Command)
@pass_session
def doctor(session: Session) -> None:
    """Check that this machine can run jobs, and say what to do where it cannot.

    The exit status is 1 when a check failed.
    """
    with session.open_runner() as runner:
        findings = runner.doctor()
    address = session.elsewhere()
    machine = f"The machine of the service at {address}" if address else "This machine"
    session.answer(findings, lambda document: finding_blocks(document, machine))
    if any(finding["status"] == "failed" for finding in findings):
        raise click.exceptions.Exit(1)


def finding_blocks(findings: list[Mapping[str, Any]], machine: str = "This machine") -> list[Block]:
    """A line per check, its remedy below it, and a sentence for the whole."""
    blocks: list[Block] = []
    for finding in findings:
        blocks.append(Line(f"{finding['status']:8}{finding['check']}: {finding['message']}", _STYLES.get(finding["status"], "")))
        if finding["remedy"] and finding["status"] != "ok":
            blocks.append(Line(finding["remedy"], indent=8))
    failed = sum(finding["status"] == "failed" for finding in findings)
    return [*blocks, Line(f"{machine} can run jobs." if not failed else f"{failed} of {len(findings)} checks failed.")]
