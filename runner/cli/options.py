"""Option types and options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from runner.cli.session import Session
from runner.cli.units import parse_duration, parse_size

F = TypeVar("F", bound=Callable[..., Any])

PERMISSIONS = ("network", "root", "writable_root")
SMALLEST_MEMORY_BYTES = 16 * 1024**2  # JobSpec's, as the next two
PRIORITIES = (-100, 100)
MOST_RETRIES = 20
GC_USUAL, GC_EXTRA = ("runs", "images", "assets"), ("records", "built")


def size(text: str) -> int:
    """An option's ``8g`` or ``512m`` in bytes."""
    try:
        size_bytes = parse_size(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error
    if size_bytes < SMALLEST_MEMORY_BYTES:
        raise click.BadParameter(f"{text!r} is {size_bytes} bytes; the smallest amount is 16m. Is a unit missing, as in 8g?")
    return size_bytes


def duration(text: str) -> float:
    """An option's ``2h`` or ``90s`` in seconds."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error
    if seconds <= 0:
        raise click.BadParameter(f"{text!r} is no time at all.")
    return seconds


def days(text: str) -> float:
    """An option's number of days."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise click.BadParameter(f"{text!r} is not a number of days, like 7 or 0.5.")
    return number


def key_value(text: str) -> str:
    """An option's ``key=value``, left as text: the image's template knows the type."""
    key, equals, _ = text.partition("=")
    if not (key.strip() and equals):
        raise click.BadParameter(f"{text!r} is not KEY=VALUE; `sluice image show IMAGE` lists the keys.")
    return text


def names(text: str) -> tuple[str, ...]:
    """An option's ``a,b`` as names, in order."""
    found = tuple(name.strip() for name in text.split(",")) if text else ()
    if not all(found):
        raise click.BadParameter(f"{text!r} has an empty name.")
    return found


def parts(text: str) -> tuple[str, ...]:
    """An option's ``runs,assets``: some of what gc can free."""
    chosen, known = names(text), (*GC_USUAL, *GC_EXTRA)
    for name in chosen:
        if name not in known:
            raise click.BadParameter(f"{name!r} is none of {', '.join(known)}.")
    return chosen


class PlacePath(click.Path):
    """A path on the machine that does the work: looked at here when that is this one."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if context and context.ensure_object(Session).elsewhere():
            return Path(value)
        return super().convert(value, parameter, context)


EXISTING_PATH = PlacePath(exists=True, path_type=Path)
EXISTING_FILE = PlacePath(exists=True, dir_okay=False, path_type=Path)
EXISTING_FOLDER = PlacePath(exists=True, file_okay=False, path_type=Path)


class PathOrAddress(PlacePath):
    """A path, or an address (``s3://bucket/prefix``), which is nobody's file and stays a text."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        return value if isinstance(value, str) and "://" in value else super().convert(value, parameter, context)


PATH_OR_ADDRESS = PathOrAddress(exists=True, path_type=Path)
NEW_FILE = PlacePath(dir_okay=False, path_type=Path)
NEW_PLACE = PlacePath(path_type=Path)


def stack(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """The decorators as one, listed in the help in this order."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def permission_options(function: F) -> F:
    """How much an image is allowed."""
    return stack(
        click.option("--name", metavar="NAME", help="The name to register it under (default: from the reference or folder)."),
        click.option(
            "--profile",
            type=click.Choice(["confined", "compatible"]),
            default="confined",
            show_default=True,
            help="How much its containers may do: compatible gives root, network and a writable root file system.",
        ),
        click.option(
            "--allow",
            type=click.Choice(PERMISSIONS),
            multiple=True,
            help="One permission beyond the profile; may be repeated.",
        ),
    )(function)


_GPU_OPTIONS = (
    click.option(
        "--gpus", "gpu_count", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="How many GPUs it gets."
    ),
    click.option("--gpu-model", metavar="TEXT", help="Only GPUs with this in their name, like h200."),
    click.option("--gpu-memory", "gpu_memory_bytes", type=size, help="Only GPUs with at least this much memory, like 40g."),
    click.option("--gpu-pool", metavar="NAME", help="Only GPUs of this pool."),
    click.option("--mig", "gpu_mig_profile", metavar="PROFILE", help="MIG slices of this profile instead of whole GPUs, like 1g.18gb."),
    click.option(
        "--share-gpu",
        "gpu_shared_bytes",
        type=size,
        help="Share each GPU with other jobs, in a pool that allows it, and use at most this much of its memory, like 4g.",
    ),
)

_QUEUE_OPTIONS = (
    click.option(
        "--priority",
        type=click.IntRange(*PRIORITIES),
        default=0,
        show_default=True,
        metavar="N",
        help="Of the jobs that wait, those with a higher number go first.",
    ),
    click.option("--project", default="default", show_default=True, metavar="NAME", help="Whose quota and fair share it counts towards."),
    click.option(
        "--retries",
        type=click.IntRange(0, MOST_RETRIES),
        metavar="N",
        help="How often to try again when something other than the image failed (default: the setting retry_limit).",
    ),
)


def job_options(function: F) -> F:
    """What every job takes, beside its image and data."""
    return stack(
        click.option(
            "--name",
            metavar="NAME",
            help="A name for the job, and a training's model; each run of it is the next version, V0001, V0002, ...",
        ),
        click.option(
            "--set",
            "parameters",
            type=key_value,
            multiple=True,
            metavar="KEY=VALUE",
            help="A parameter of the image's template; may be repeated.",
        ),
        *_GPU_OPTIONS,
        click.option("--memory", "memory_bytes", type=size, help="The most memory it may use, like 8g."),
        click.option(
            "--cpus", "cpu_count", type=click.FloatRange(min=0, min_open=True), metavar="N", help="How many CPUs it may use, like 2 or 0.5."
        ),
        click.option("--timeout", "timeout_s", type=duration, help="End it when it runs longer, like 90s or 2h."),
        click.option(
            "--silence-timeout",
            "silence_timeout_s",
            type=duration,
            help="End it when it neither prints nor reports progress for so long, like 30m.",
        ),
        *_QUEUE_OPTIONS,
        click.option(
            "--seed",
            type=int,
            default=0,
            show_default=True,
            metavar="N",
            help="For the choices Sluice makes, such as the validation split.",
        ),
        click.option("--detach", is_flag=True, help="Do not wait: print the job and let it run in the background."),
    )(function)
