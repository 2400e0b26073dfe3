"""Every bad end has words for people, one JSON shape for programs, and the exit status of the error tree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from contracts import errors
from runner.cli import main
from runner.cli.failures import Detached, report

ERROR_CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.SluiceError)]


def json_of(capsys: pytest.CaptureFixture[str]) -> Any:
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


@pytest.mark.parametrize("error_class", ERROR_CLASSES)
def test_the_error_tree_gives_the_exit_status_and_the_json_document(
    error_class: type[errors.SluiceError], capsys: pytest.CaptureFixture[str]
) -> None:
    error = error_class("it broke", hint="mend it", which="this")
    assert report(error, ["x", "--json"]) == error_class.exit_code
    assert json_of(capsys) == {"error": {"code": error_class.code, "message": "it broke", "hint": "mend it", "fields": {"which": "this"}}}


def test_people_read_the_message_and_below_it_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(errors.NotFoundError("there is no image 'x'", hint="Known: a."), ["image", "show", "x"]) == 3
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Error: there is no image 'x'\nKnown: a.\n")


def test_what_an_image_wrote_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report(errors.ImageError("bad \x1b[2J\x07 template"), [])
    assert capsys.readouterr().err == "Error: bad \\x1b[2J\\x07 template\n"


@pytest.mark.parametrize(
    ("arguments", "command", "words"),
    [
        (["frobnicate"], "sluice", "There is no command 'frobnicate'. Known: train, mine, infer,"),
        (["image", "frobnicate"], "sluice image", "Known: build, add, list,"),
        (["image", "show"], "sluice image show", "Missing argument 'NAME'."),
        (["job", "list", "--limit", "0"], "sluice job list", "Invalid value for '--limit'"),
        (["image"], "sluice image", "Missing command."),
        (["train", "--nonsense"], "sluice train", "No such option"),
    ],
)
def test_a_usage_error_has_the_same_shape(arguments: list[str], command: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--json"]) == 2
    error = json_of(capsys)["error"]
    assert (error["code"], error["fields"], error["hint"]) == ("usage", {"command": command}, f"`{command} --help` lists what it takes.")
    assert words in error["message"]


def test_no_command_at_all_is_a_usage_error_in_json_and_the_help_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "image"]) == 2
    assert json_of(capsys)["error"]["message"] == "A command is missing."
    assert main(["image"]) == 2
    assert "Usage: sluice image" in capsys.readouterr().err


def test_a_json_that_is_only_an_argument_does_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["frobnicate", "--", "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Try 'sluice --help'" in captured.err


def test_an_interrupt_that_leaves_a_job_running_says_how_to_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(Detached("t4k2m9xq"), []) == 130
    assert capsys.readouterr().err == "Job t4k2m9xq goes on. Come back: sluice job wait t4k2m9xq   Stop it: sluice job cancel t4k2m9xq\n"


def test_an_interrupt_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(Detached("t4k2m9xq"), ["--json"]) == 130
    error = json_of(capsys)["error"]
    assert (error["code"], error["message"], error["fields"]) == ("interrupted", "Job t4k2m9xq goes on.", {"job": "t4k2m9xq"})


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), click.Abort()])
def test_any_other_interrupt_says_so(interrupt: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(interrupt, []) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_a_defect_writes_its_traceback_aside_and_names_the_file(traceback_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(_raised(), ["job", "list", "--set", "token=secret"]) == 70
    [file] = traceback_folder.glob("sluice-*.traceback")
    captured = capsys.readouterr()
    assert captured.err == f"Error: this is a defect in Sluice: ZeroDivisionError: oh\nPlease report it with the traceback in {file}.\n"
    assert "in _raised" in file.read_text()
    assert "secret" not in file.read_text()


def test_a_defect_is_json_too(traceback_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(_raised(), ["--json"]) == 70
    error = json_of(capsys)["error"]
    assert (error["code"], error["fields"]["exception"]) == ("internal", "ZeroDivisionError")
    assert Path(error["fields"]["traceback_file"]).parent == traceback_folder


def test_verbose_shows_the_traceback_at_once(traceback_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(_raised(), ["--verbose"])
    assert "in _raised" in capsys.readouterr().err


def _raised() -> Exception:
    try:
        raise ZeroDivisionError("oh")
    except ZeroDivisionError as error:
        return error
