"""Options are checked before anything is opened, and shared options work in every place."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from contracts.image import Kind, Permissions
from contracts.job import GpuWish, JobSpec, JobState, Step
from runner import gc
from runner.cli import main, options, root, submit
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
        (["--priority", "101"], "101 is not in the range -100<=x<=100"),
        (["--retries", "21"], "21 is not in the range 0<=x<=20"),
        (["--silence-timeout", "5"], "like 90s, 2h or 1h30m"),
        (["--gpus", "1", "--share-gpu", "4"], "Is a unit missing, as in 8g?"),
        (["--gpu-model", "h200"], "--gpu-model says which GPUs; say with --gpus N how many."),
        (["--mig", "1g.18gb"], "--mig says which GPUs; say with --gpus N how many."),
    ],
)
def test_a_wrong_option_is_a_usage_error_that_says_what_is_right(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "detector", "--data", "scenes", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--project", "a b"], "--project 'a b': use 1 to 64 letters"),
        (["--gpus", "1", "--gpu-pool", "/"], "--gpu-pool '/': use 1 to 64 letters"),
        (["--gpus", "1", "--gpu-model", ""], "--gpu-model '': String should have at least 1 character"),
        (["--gpus", "1", "--mig", "small"], "--mig 'small': a MIG profile is like 1g.18gb; `sluice gpu list` shows"),
    ],
)
def test_what_only_the_request_itself_can_refuse_is_said_with_the_options_name(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "detector", "--data", "scenes", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_every_option_of_a_job_reaches_its_place_in_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[JobSpec] = []

    class Asked(Exception):  # noqa: N818 - not an error
        pass

    def parse_parameters(self: object, spec: JobSpec, texts: object) -> None:
        asked.append(spec)
        raise Asked

    monkeypatch.setattr("runner.service.Runner.parse_parameters", parse_parameters)
    words = "--gpus 2 --gpu-model H200 --gpu-memory 40g --gpu-pool big --mig 1g.18gb --share-gpu 4g --priority -5 --project eyes"
    with pytest.raises(Asked):
        command_line("train", "detector", "--data", "scenes", *words.split(), "--retries", "0", "--silence-timeout", "30m")
    wish = GpuWish(pool="big", model="H200", memory_bytes=40 * 1024**3, mig_profile="1g.18gb", shared_bytes=4 * 1024**3)
    assert (asked[0].gpu_count, asked[0].gpu) == (2, wish)
    assert (asked[0].priority, asked[0].project, asked[0].retries, asked[0].silence_timeout_s) == (-5, "eyes", 0, 1800.0)


def command_line(*arguments: str) -> None:
    """As ``main``, with the errors let through."""
    root.main(list(arguments), standalone_mode=False)


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
    assert (
        "Session(home='h', engine=None, as_json=True, verbose=False, embed=False, server=None)"
        in CliRunner().invoke(probe, arguments).output
    )


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
    assert [limit(JobSpec, "priority", end) for end in ("ge", "le")] == list(options.PRIORITIES)
    assert limit(JobSpec, "retries", "le") == options.MOST_RETRIES
    assert (gc.USUAL, set(gc.WHAT)) == (options.GC_USUAL, {*options.GC_USUAL, *options.GC_EXTRA})
    assert set(submit._OPTION_OF) >= {f"gpu.{name}" for name in GpuWish.model_fields}


def limit(model: type[BaseModel], field: str, end: str) -> Any:
    return next(getattr(part, end) for part in model.model_fields[field].metadata if hasattr(part, end))


def test_verbose_lets_our_records_through_and_quiet_only_warnings() -> None:
    configure_logging(True)
    assert logging.getLogger("runner.anything").isEnabledFor(logging.DEBUG)
    configure_logging(False)
    assert not logging.getLogger("runner.anything").isEnabledFor(logging.INFO)
