"""``sluice evaluate`` and ``sluice evaluation``: what predictions are worth."""

from __future__ import annotations

import click

from runner.cli.commands import Command, Group
from runner.cli.evaluation_blocks import comparison_blocks, definition_blocks, list_blocks, show_blocks
from runner.cli.session import Session, pass_session

KINDS = ("detection", "instance", "semantic", "classification")


@click.command(cls=Command)
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True)
@click.option(
    "--against",
    default="",
    metavar="NAME[@VERSION][:SPLIT]",
    help="Labels of the same pictures to compare with (default: the version and split that the first job predicted on).",
)
@click.option(
    "--iou",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    metavar="N",
    help="The least overlap that counts.",
)
@click.option(
    "--conf",
    "confidence",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    metavar="N",
    help="The least score to count as found.",
)
@click.option(
    "--by", multiple=True, metavar="TAG", help="Also each value of this tag of pictures or attribute of objects by itself; may be repeated."
)
@click.option("--as", "kind", type=click.Choice(KINDS), help="What to evaluate (default: as the labels are).")
@click.option("--common", is_flag=True, help="Only the pictures that all jobs looked at, where they differ.")
@click.option("--background", is_flag=True, help="In semantic segmentation: the background is a class, too.")
@pass_session
def evaluate(
    session: Session,
    jobs: tuple[str, ...],
    against: str,
    iou: float,
    confidence: float,
    by: tuple[str, ...],
    kind: str | None,
    common: bool,
    background: bool,
) -> None:
    """Say how good the predictions of inference jobs are, several side by side on one test set.

    Only labelled pictures count. The same question again is answered at once.
    """
    with session.open_runner() as runner:
        made = runner.evaluate(
            jobs, against=against, kind=kind or "", iou=iou, confidence=confidence, by=by, common=common, background=background
        )
    session.answer(made, show_blocks)
    session.hint(f"sluice evaluation show {made['id']} --definitions")


@click.group(cls=Group)
def evaluation() -> None:
    """Show and compare evaluations."""


@evaluation.command("list")
@pass_session
def list_(session: Session) -> None:
    """List the evaluations."""
    with session.open_runner() as runner:
        evaluations = runner.list_evaluations()
    session.answer(evaluations, list_blocks)
    if not evaluations:
        session.hint("sluice evaluate JOB")


@evaluation.command()
@click.argument("reference", metavar="EVALUATION")
@click.option("--definitions", is_flag=True, help="Say what each of its numbers is instead.")
@pass_session
def show(session: Session, reference: str, definitions: bool) -> None:
    """Show an evaluation: its test set, its numbers, each class, and what was left out."""
    with session.open_runner() as runner:
        shown = runner.get_evaluation(reference)
    session.answer(shown, definition_blocks if definitions else show_blocks)


@evaluation.command()
@click.argument("references", metavar="EVALUATION...", nargs=-1, required=True)
@pass_session
def compare(session: Session, references: tuple[str, ...]) -> None:
    """Show the models of several evaluations side by side; refused where their numbers do not mean the same."""
    with session.open_runner() as runner:
        compared = runner.compare_evaluations(references)
    session.answer(compared, comparison_blocks)
