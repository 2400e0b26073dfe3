"""``sluice train``, ``mine`` and ``infer``: submit a job, then wait for it unless it is detached."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.commands import Command
from runner.cli.options import NEW_FILE, job_options, names, stack
from runner.cli.session import Session, pass_session
from runner.cli.units import count_text

if TYPE_CHECKING:
    from contracts.job import JobSpec

_OPTION_OF = {
    "train_data": "--data",
    "val_data": "--val",
    "data": "--data",
    "class_names": "--classes",
    "memory_bytes": "--memory",
    "top_k": "--top",
    "new_classes": "--new-classes",
    "training_data": "--training-data",
    "gpu.pool": "--gpu-pool",
    "gpu.model": "--gpu-model",
    "gpu.memory_bytes": "--gpu-memory",
    "gpu.mig_profile": "--mig",
    "gpu.shared_bytes": "--share-gpu",
}

_preset_option = click.option("--preset", metavar="NAME", help="Begin with this saved request; what is said beside it counts instead.")
_model_job_options = stack(
    click.argument("image", required=False),
    click.option(
        "--model",
        metavar="NAME[@V0001][@STAGE]",
        help="The model to use: its newest version, and the recommended or best stage, unless they are named.",
    ),
    click.option("--data", metavar="REF", help="The dataset to look at: name[@V002][:split]."),
    _preset_option,
    click.option("--unlinked", is_flag=True, help="Use an image that is not linked to the model's training image."),
)


@click.command(cls=Command)
@click.argument("image", required=False)
@click.option("--data", "train_data", metavar="REF", help="The dataset to learn from: name[@V002][:split].")
@click.option("--val", "val_data", metavar="REF", help="The dataset to measure on (default: its val split, else a share of --data).")
@click.option("--model", metavar="NAME[@V0001][@STAGE]", help="Start from this model.")
@click.option("--new-classes", is_flag=True, help="With --model: learn other classes than the model knows.")
@_preset_option
@click.option("--classes", "class_names", type=names, default="", metavar="A,B", help="Only these classes, in this order (default: all).")
@job_options
@pass_session
def train(session: Session, /, **request: Any) -> None:
    """Train a model: run a training image over a dataset.

    \b
      sluice train detector --data scenes --set epochs=20 --name first
    """
    _run(session, "training", request)


@click.command(cls=Command)
@_model_job_options
@click.option("--top", "top_k", type=click.IntRange(min=1), metavar="K", help="How many of the best to keep.")
@click.option("--infer", "with_inference", is_flag=True, help="Predict in the same container: a mining+inference job.")
@click.option(
    "--predictions",
    metavar="JOB",
    help="For an image that mines by predictions: those of this job (default: the model's newest over --data, or those imported with it).",
)
@click.option(
    "--training-data", metavar="REF", help="For an image that compares with it: what the model learnt from (default: as its record says)."
)
@click.option("--show", type=NEW_FILE, metavar="FILE", help="Draw the first pictures, with boxes and reasons, into this PNG file.")
@job_options
@pass_session
def mine(session: Session, /, with_inference: bool, show: Path | None, **request: Any) -> None:
    """Rank the assets of a dataset by how much labelling them is worth.

    IMAGE may be left out: the image linked to the model's training image is taken. An image that mines by predictions needs no model.

    \b
      sluice mine --model first --data pool --top 50
      sluice mine hard-examples --model first --data pool --show hard.png
    """
    if show and request["detach"]:
        raise click.UsageError("--show draws what the job left: do not --detach, or draw it later with `sluice job sheet JOB FILE`.")
    _run(session, "mining+inference" if with_inference else "mining", request, show)


@click.command(cls=Command)
@_model_job_options
@job_options
@pass_session
def infer(session: Session, /, **request: Any) -> None:
    """Predict: run a model over the assets of a dataset.

    IMAGE may be left out: the image linked to the model's training image is taken.

    \b
      sluice infer --model first --data pool
    """
    _run(session, "inference", request)


def _run(session: Session, kind: str, request: dict[str, Any], show: Path | None = None) -> None:
    detach, texts, preset = request.pop("detach"), request.pop("parameters"), request.pop("preset")
    if preset is None:
        _check_given(kind, request)
    else:
        request = _said(request)
    request["gpu"] = _gpu_wish(request)
    with session.open_runner() as runner:
        saved: dict[str, Any] = _saved(runner.get_preset(preset), kind) if preset else {"kind": kind}
        spec = _spec(**{**saved, **request, "gpu": saved.get("gpu", {}) | request["gpu"]})
        parameters = {**spec.parameters, **runner.parse_parameters(spec, texts)}
        job = runner.submit(spec.model_copy(update={"parameters": parameters}))
        if show is None:
            start(session, runner, job, detach=detach)
        else:
            _start_and_draw(session, runner, job, show)


def _start_and_draw(session: Session, runner: Any, job: dict[str, Any], file: Path) -> None:
    session.say_place(file, "written")
    start(session, runner, job, detach=False)
    drawn = runner.contact_sheet(job["id"], file)
    session.say(f"{drawn['file']}: {count_text(drawn['images'], 'picture')}")


def _check_given(kind: str, request: dict[str, Any]) -> None:
    needed = {"image": "argument 'IMAGE'", "train_data": "option '--data'"}
    if kind != "training":
        needed = {"model": "option '--model'", "data": "option '--data'"}
        if kind == "mining" and request["image"]:  # which may mine by predictions alone; the service knows
            del needed["model"]
    for name, what in needed.items():
        if request[name] is None:
            raise click.UsageError(f"Missing {what}.", click.get_current_context())


def _said(request: dict[str, Any]) -> dict[str, Any]:
    """Only what stands on the command line: the rest is the preset's to say."""
    source, default = click.get_current_context().get_parameter_source, click.core.ParameterSource.DEFAULT
    return {name: value for name, value in request.items() if source(name) is not default and value is not None}


def _saved(preset: dict[str, Any], kind: str) -> dict[str, Any]:
    """A mining preset may be one that predicts, too."""
    saved: dict[str, Any] = preset["request"]
    if saved["kind"] != kind and not (kind == "mining" and saved["kind"] == "mining+inference"):
        from contracts.errors import RequestError

        raise RequestError(
            f"the preset {preset['name']} is for {saved['kind']}, not for {kind}", hint="sluice preset list shows the others."
        )
    return saved


def start(session: Session, runner: Any, job: dict[str, Any], *, detach: bool) -> None:
    """Let a submitted job run: here while the person waits, or in the background."""
    from runner.cli.following import wait_and_answer
    from runner.cli.job_blocks import show_blocks

    if not detach:
        if not session.as_json:
            session.say(f"Job {job['id']}: {job['kind']} with {job['image']['name']}")
        wait_and_answer(session, runner, job["id"])
        return
    runner.attend(job["id"])
    session.answer(runner.get_job(job["id"]), show_blocks)
    session.hint(f"sluice job wait {job['id']}", f"sluice job logs -f {job['id']}")


def _gpu_wish(request: dict[str, Any]) -> dict[str, Any]:
    """Takes what describes the GPUs out of the request; a description of no GPU at all is a mistake."""
    given = {place: request.pop(place.replace(".", "_"), None) for place in _OPTION_OF if place.startswith("gpu.")}
    wish = {place: value for place, value in given.items() if value is not None}
    if wish and not request.get("gpu_count") and "gpu_count" in request:
        raise click.UsageError(f"{_OPTION_OF[next(iter(wish))]} says which GPUs; say with --gpus N how many.")
    return {place.removeprefix("gpu."): value for place, value in wish.items()}


def _spec(**request: Any) -> JobSpec:
    from pydantic import ValidationError

    from contracts.errors import RequestError
    from contracts.job import JobSpec

    try:
        return JobSpec(**request)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        name = place.partition(".")[0]
        option = _OPTION_OF.get(place) or _OPTION_OF.get(name) or (f"--{name}" if name else "")
        message = _messages(place).get(first["type"], first["msg"].removeprefix("Value error, "))
        raise RequestError(f"{option} {first['input']!r}: {message}" if option else message, hint="`--help` lists the options.") from error


def _messages(place: str) -> dict[str, str]:
    if place == "gpu.mig_profile":
        return {"string_pattern_mismatch": "a MIG profile is like 1g.18gb; `sluice gpu list` shows the slices there are"}
    return {"string_pattern_mismatch": "use 1 to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit"}
