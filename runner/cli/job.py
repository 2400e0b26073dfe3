"""``sluice job``: watch, cancel and repeat jobs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.blocks import Line
from runner.cli.commands import Group
from runner.cli.job_blocks import place_text
from runner.cli.options import NEW_FILE
from runner.cli.session import Session, json_text, pass_session
from runner.cli.units import count_text

if TYPE_CHECKING:
    from runner.cli.session import AnyRunner

KINDS = ("training", "mining", "inference", "mining+inference")
STATES = ("queued", "running", "succeeded", "failed", "cancelled")
_FOLLOW_INTERVAL_S = 0.1


@click.group(cls=Group)
def job() -> None:
    """Watch, cancel and repeat jobs."""


@job.command("list")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only jobs in this state; may be repeated.")
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Only jobs of this kind; may be repeated.")
@click.option("--user", "users", multiple=True, metavar="NAME", help="Only jobs that this person submitted; may be repeated.")
@click.option("--project", "projects", multiple=True, metavar="NAME", help="Only jobs of this project; may be repeated.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, metavar="N", help="Jobs on a page.")
@click.option("--page", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Which page, newest jobs first.")
@pass_session
def list_(session: Session, /, limit: int, page: int, **chosen: tuple[str, ...]) -> None:
    """List jobs, newest first; one that waits with its place in the queue and why."""
    from runner.cli.job_blocks import list_blocks

    with session.open_runner() as runner:
        jobs = runner.list_jobs(**chosen, limit=limit, offset=(page - 1) * limit)
    session.answer(jobs, list_blocks)
    if not jobs["total"] and not any(chosen.values()):
        session.hint("sluice train IMAGE --data DATASET")


@job.command()
@click.argument("reference", metavar="JOB")
@pass_session
def show(session: Session, reference: str) -> None:
    """Show a job: what was asked for, where it stands, what it used, what it left or why it failed."""
    from runner.cli.job_blocks import show_blocks

    with session.open_runner() as runner:
        shown = runner.get_job(reference)
    session.answer(shown, show_blocks)


@job.command()
@click.argument("reference", metavar="JOB")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@pass_session
def logs(session: Session, reference: str, follow: bool) -> None:
    """Print the output of a job's container.

    With --json one document {"data": ...}; when following, one per line.
    """
    with session.open_runner() as runner:
        if follow:
            _say_why_nothing_comes(session, runner.get_job(reference))
        chunks = _chunks(runner, reference, follow)
        if session.as_json:
            _print_json(chunks, follow)
        elif not _print_bytes(chunks):
            session.say("There is no output.")


@job.command()
@click.argument("reference", metavar="JOB")
@pass_session
def wait(session: Session, reference: str) -> None:
    """Wait for a job's end and print its result; the exit status says whether it succeeded.

    A job that nobody drives, because the command that started it was killed, is carried on.
    """
    from runner.cli.following import wait_and_answer

    with session.open_runner() as runner:
        wait_and_answer(session, runner, runner.get_job(reference)["id"])


@job.command()
@click.argument("reference", metavar="JOB")
@pass_session
def cancel(session: Session, reference: str) -> None:
    """Cancel a job; one that has ended already is left as it is."""
    with session.open_runner() as runner:
        cancelled = runner.cancel_job(reference)
    session.answer(cancelled, lambda document: [Line(_cancel_text(document))])


@job.command()
@click.argument("reference", metavar="JOB")
@click.option("--latest", is_flag=True, help="Ask for the same again, with the data, model, image and defaults of today.")
@click.option("--current-image", is_flag=True, help="Take the image that is registered under the name now; keep the rest.")
@click.option("--detach", is_flag=True, help="Do not wait: print the job and let it run in the background.")
@pass_session
def rerun(session: Session, reference: str, latest: bool, current_image: bool, detach: bool) -> None:
    """Run a job again, with exactly what it ran with: image by digest, data by content, stage, parameters, seed.

    What is gone meanwhile is named, never replaced. The new job is the next version of the name.
    """
    from runner.cli.submit import start

    if latest and current_image:
        raise click.UsageError("--latest takes the current image anyway: leave --current-image out.")
    with session.open_runner() as runner:
        start(session, runner, runner.rerun_job(reference, latest=latest, current_image=current_image), detach=detach)


@job.command()
@click.argument("name")
@pass_session
def versions(session: Session, name: str) -> None:
    """List the runs of a named job, and what was changed from each to the next."""
    from runner.cli.version_blocks import version_blocks

    with session.open_runner() as runner:
        shown = runner.job_versions(name)
    session.answer(shown, version_blocks)


@job.command()
@click.argument("references", metavar="JOB JOB...", nargs=-1, required=True)
@click.option("--all", "everything", is_flag=True, help="Also rows in which all of them agree.")
@pass_session
def compare(session: Session, references: tuple[str, ...], everything: bool) -> None:
    """Compare jobs: inputs, parameters, metrics and outcome side by side. A JOB may be NAME@V0002.

    Rows that differ are marked. A blank says that the job has no such value. With --json all rows are there.
    """
    from runner.cli.version_blocks import comparison_blocks

    with session.open_runner() as runner:
        compared = runner.compare_jobs(references)
    session.answer(compared, lambda document: comparison_blocks(document, everything))


@job.command()
@click.argument("reference", metavar="JOB")
@click.argument("file", type=NEW_FILE)
@click.option("--limit", type=click.IntRange(1, 400), default=24, show_default=True, metavar="N", help="How many pictures.")
@click.option("--columns", type=click.IntRange(1, 40), default=6, show_default=True, metavar="N", help="Pictures in a row.")
@pass_session
def sheet(session: Session, reference: str, file: Path, limit: int, columns: int) -> None:
    """Draw a job's pictures with its predicted boxes, or its ranking, into one PNG file."""
    session.say_place(file, "written")
    with session.open_runner() as runner:
        drawn = runner.contact_sheet(reference, file, limit=limit, columns=columns)
    session.answer(drawn, lambda document: [Line(f"{document['file']}: {count_text(document['images'], 'picture')}")])


def _cancel_text(cancelled: dict[str, Any]) -> str:
    if cancelled["state"] == "cancelled":
        return f"Cancelled {cancelled['id']}."
    return f"Job {cancelled['id']} had ended already: {cancelled['state']}."


def _say_why_nothing_comes(session: Session, shown: dict[str, Any]) -> None:
    if shown["state"] in ("queued", "running") and not shown["attended"]:
        session.say(f"Nobody drives job {shown['id']}; `sluice job wait {shown['id']}` carries it on.")
    elif place := place_text(shown):
        session.say(f"Job {shown['id']} waits, {place}")


def _chunks(runner: AnyRunner, reference: str, follow: bool) -> Iterator[bytes]:
    """The log from the beginning to its present end, or to the job's end when following. A service says itself when there is more."""
    if follow and (stream := getattr(runner, "follow_job_log", None)):
        yield from (data for data, _, _ in stream(reference) if data)
        return
    offset = 0
    while True:
        data, offset, ended = runner.read_job_log(reference, offset)
        if data:
            yield data
        elif ended or not follow:
            return
        else:
            time.sleep(_FOLLOW_INTERVAL_S)


def _print_bytes(chunks: Iterator[bytes]) -> bool:
    """Whether there were any."""
    sys.stdout.flush()
    printed = False
    for data in chunks:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        printed = True
    return printed


def _print_json(chunks: Iterator[bytes], follow: bool) -> None:
    if not follow:
        click.echo(json_text({"data": b"".join(chunks).decode("utf-8", "replace")}))
        return
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a chunk may end inside a character
    for data in chunks:
        click.echo(json_text({"data": decoder.decode(data)}, one_line=True))
