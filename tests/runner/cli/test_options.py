"""Options are checked before anything is opened, and shared options work in every place."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from contracts.image import Kind, Permissions
from contracts.job import JobSpec, JobState, Step
from runner.cli import main, options
from runner.cli.commands import Command
from runner.cli.job import KINDS, STATES
from runner.cli.job_blocks import STEP_WORDS
from runner.cli.session import Session, configure_logging, pass_session


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memory", "8"], "Is a unit missing, as in 8g?"),
        (["--memory", "much"], "like 512m or 8g"),
        (["--timeout", "90"], "like 90s, 2h or 1h30m"),
        (["--timeout", "0s"], "no time at all"),
        (["--gpus", "-1"], "-1 is not in the range"),
        (["--cpus", "0"], "0.0 is not in the range"),
        (["--set", "epochs"], "'epochs' is not KEY=VALUE"),
        (["--set", "=3"], "'=3' is not KEY=VALUE"),
        (["--classes", "a,,b"], "has an empty name"),
        (["--colour", "red"], "No such option"),
    ],
)
def test_a_wrong_option_is_a_usage_error_that_says_what_is_right(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "detector", "--data", "scenes", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mine", "--data", "pool"]) == 2
    assert "Missing option '--model'" in capsys.readouterr().err


@click.command(cls=Command)
@click.argument("values", nargs=-1)
@pass_session
def probe(session: Session, values: tuple[str, ...]) -> None:
    """Print the session."""
    click.echo(f"{session} {values}")


@pytest.mark.parametrize("arguments", [["--json", "--home", "h"], ["--home", "h", "--json"]])
def test_shared_options_fill_the_session(arguments: list[str]) -> None:
    assert "Session(home='h', engine=None, as_json=True, verbose=False)" in CliRunner().invoke(probe, arguments).output


def test_a_shared_option_before_the_sub_command_is_kept_and_one_after_it_wins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--home", "/dev/null/x", "dataset", "--engine", "process", "list", "--home", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_names_are_split_at_commas_and_stripped() -> None:
    assert options.names("a, b c") == ("a", "b c")
    assert options.names("") == ()


def test_the_words_of_the_options_are_those_of_the_contracts() -> None:
    assert (tuple(map(str, Kind)), tuple(map(str, JobState))) == (KINDS, STATES)
    assert list(STEP_WORDS) == [str(step) for step in Step]
    assert JobSpec.model_fields["memory_bytes"].metadata[0].ge == options.SMALLEST_MEMORY_BYTES
    assert set(vars(Permissions())) == set(options.PERMISSIONS)


def test_verbose_lets_our_records_through_and_quiet_only_warnings() -> None:
    configure_logging(True)
    assert logging.getLogger("runner.anything").isEnabledFor(logging.DEBUG)
    configure_logging(False)
    assert not logging.getLogger("runner.anything").isEnabledFor(logging.INFO)
