"""Every way a command line can end badly, in words (or one JSON document) and an exit status."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from contracts.errors import InternalError, JobFailedError, SluiceError
from runner.cli.session import json_text, plain

INTERRUPTED = 130


class Detached(click.Abort):
    """The person stopped waiting for a job that goes on without them; no error of anybody's."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id


def report(error: BaseException, arguments: Sequence[str]) -> int:
    """Print what went wrong and return the exit status. ``arguments`` say whether JSON and tracebacks were asked for."""
    words = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    as_json = "--json" in words
    if isinstance(error, click.ClickException):
        return _report_usage(error, as_json)
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return _report_interrupt(error, as_json)
    ours = error if isinstance(error, SluiceError) else _internal(error)
    if "--verbose" in words:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    if as_json:
        click.echo(json_text(ours.to_dict()))
    else:
        _print_error(ours)
    return ours.exit_code


def _report_usage(error: click.ClickException, as_json: bool) -> int:
    if not as_json:
        error.show()
        return error.exit_code
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "sluice"
    message = "A command is missing." if type(error).__name__ == "NoArgsIsHelpError" else error.format_message()
    click.echo(json_text(error_document("usage", message, f"`{path} --help` lists what it takes.", {"command": path})))
    return error.exit_code


def _report_interrupt(error: BaseException, as_json: bool) -> int:
    job_id = error.job_id if isinstance(error, Detached) else None
    message = f"Job {job_id} goes on." if job_id else "Interrupted."
    hint = f"Come back: sluice job wait {job_id}   Stop it: sluice job cancel {job_id}" if job_id else ""
    if as_json:
        click.echo(json_text(error_document("interrupted", message, hint, {"job": job_id} if job_id else {})))
    else:
        click.echo(f"{message} {hint}".rstrip(), err=True)
    return INTERRUPTED


def error_document(code: str, message: str, hint: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The shape of ``SluiceError.to_dict`` for what is not in the error tree: the command line's own."""
    return {"error": {"code": code, "message": message, "hint": hint, "fields": fields}}


def _print_error(error: SluiceError) -> None:
    from runner.cli.blocks import print_blocks
    from runner.cli.job_blocks import failure_blocks

    if isinstance(error, JobFailedError) and "job" in error.fields:
        print_blocks(failure_blocks(error.fields["job"]), sys.stderr)
        return
    click.echo(f"Error: {plain(error.message, keep=chr(10))}", err=True)
    if error.hint:
        click.echo(plain(error.hint, keep="\n"), err=True)


def _internal(error: BaseException) -> InternalError:
    kind = type(error).__name__
    file = _write_traceback(error)
    message = f"this is a defect in Sluice: {kind}: {error}" if str(error) else f"this is a defect in Sluice: {kind}"
    return InternalError(message, hint=f"Please report it with the traceback in {file}.", exception=kind, traceback_file=str(file))


def _write_traceback(error: BaseException) -> Path:
    text = "".join(traceback.format_exception(error))
    descriptor, name = tempfile.mkstemp(prefix=f"sluice-{time.strftime('%Y%m%dT%H%M%S')}-", suffix=".traceback")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
    return Path(name)
