"""mmdet built as an image and run as Sluice confines it: no network, read-only root, an ordinary user, no capabilities.

The image is built with the stand-in for mmcv's operators: nothing is compiled or fetched, and it is quick enough.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.dataset import ContainerPaths, ModelInput, Sample
from contracts.image import Kind, ObjectType
from contracts.results import TrainingResult
from contracts.ymir import collect_inference, collect_mining, collect_training, read_progress
from tests.images.image_jobs import Ended, confined_command, make_samples, model_input, stage_job

pytestmark = [pytest.mark.docker, pytest.mark.slow]

CLASSES = ("red", "green")
BUILD_ARGS = {"OPS": "stand-in"}
OPTIONS = ("--memory=3g", "--shm-size=256m", "--env", "SLUICE_THREADS=1")
QUICK = {
    "model": "yolox_tiny",
    "image_size": 96,
    "epochs": 6,
    "batch_size": 4,
    "eval_period": 3,
    "save_period": 3,
    "scale": 0.0,
    "colour": False,
}
Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return make_samples(tmp_path_factory.mktemp("assets"), 32, CLASSES)


@pytest.fixture(scope="module")
def ended(run: Run, samples: list[Sample]) -> Ended:
    ended = run(Kind.TRAINING, QUICK, train=samples[:24], val=samples[24:])
    assert ended.exit_code == 0, ended.log
    return ended


@pytest.fixture(scope="module")
def trained(ended: Ended) -> TrainingResult:
    return collect_training(ended.out_dir)


@pytest.fixture(scope="module")
def model(trained: TrainingResult) -> ModelInput:
    return model_input(next(stage for stage in trained.stages if stage.name == "epoch_6"), CLASSES)


def test_training_leaves_stages_that_are_read_without_a_tolerance_and_its_loss_falls(trained: TrainingResult, ended: Ended) -> None:
    stages = {stage.name: stage for stage in trained.stages}
    assert set(stages) == {"epoch_3", "epoch_6", "last", "best"}
    assert {"mAP", "mAR", "tp", "fp", "fn"} <= set(stages["last"].metrics)
    assert trained.warnings == ()
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in ended.log.splitlines() if line.startswith("epoch ")]
    assert len(losses) == 6
    assert losses[-1] < 0.8 * losses[0]
    assert list((ended.out_dir / "tensorboard").iterdir())


def test_inference_and_mining_in_one_container_leave_out_a_broken_picture(
    run: Run, samples: list[Sample], model: ModelInput, tmp_path: Path
) -> None:
    broken = make_samples(tmp_path, 1, CLASSES, seed=9)[0]
    broken.path.write_bytes(broken.path.read_bytes()[:200])
    ended = run(Kind.MINING_INFERENCE, {"conf_thres": 0.001, "budget": 2}, candidates=[*samples[24:30], broken], model=model)
    assert ended.exit_code == 0, ended.log
    assets = [*(sample.asset for sample in samples[24:30]), broken.asset]
    ranking, predictions = collect_mining(ended.out_dir, assets), collect_inference(ended.out_dir, assets, ObjectType.DETECTION, CLASSES)
    assert len(ranking.ranking) == 6
    assert len(predictions.predictions) == 6
    assert [warning.code for warning in ranking.warnings] == ["mining_incomplete"]  # the broken one
    assert predictions.warnings == ()
    assert f"left out: /in/assets/{broken.asset.relative_path}" in ended.log
    reasons = [json.loads(line) for line in (ended.out_dir / "mining-reasons.jsonl").read_text().splitlines()]
    assert [Path(row["image"]).stem for row in reasons] == [asset for asset, _ in ranking.ranking[:2]]
    assert all(row["texts"] and row["hard"] for row in reasons)


@pytest.mark.parametrize("algorithm", ["cald", "ppal", "hard_examples"])
def test_every_candidate_is_ranked_and_the_chosen_ones_have_reasons(
    run: Run, samples: list[Sample], model: ModelInput, algorithm: str
) -> None:
    """One algorithm for each thing that the detector gives the mining core: views, features of boxes, and the operator's views; what it learnt from."""
    given = {"candidates": samples[24:], "train": samples[:8], "model": model}
    ended = run(Kind.MINING, {"mining_algorithm": algorithm, "budget": 3, "conf_thres": 0.001, "max_boxes": 20}, **given)
    assert ended.exit_code == 0, ended.log
    result = collect_mining(ended.out_dir, [sample.asset for sample in samples[24:]])
    assert ({asset for asset, _ in result.ranking}, result.warnings) == ({sample.asset.id for sample in samples[24:]}, ())
    reasons = [json.loads(line) for line in (ended.out_dir / "mining-reasons.jsonl").read_text().splitlines()]
    chosen = len(reasons) if algorithm == "hard_examples" else 3
    assert [Path(row["image"]).stem for row in reasons] == [asset for asset, _ in result.ranking[:chosen]]
    assert all(row["texts"] and row["hard"] and 0 < row["score"] <= 1 for row in reasons)
    assert "aug_consistent_mining is left out" not in ended.log


def _start_and(image: str, job_dir: Path, samples: list[Sample], parameters: dict[str, Any], at: str, signal: list[str]) -> int:
    """Starts a training and sends a signal when its log says ``at``; the exit code."""
    stage_job(
        job_dir, ContainerPaths(), "mmdet", Kind.TRAINING, parameters, {"class_names": CLASSES, "train": samples[:24], "val": samples[24:]}
    )
    name = f"sluice-test-{uuid.uuid4().hex[:12]}"
    with subprocess.Popen(
        confined_command(image, job_dir, name, *OPTIONS), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            if at in line:
                break
        subprocess.run(["docker", *signal, name], check=True, capture_output=True)
        return process.wait(90)


def test_a_killed_training_goes_on_and_ends_with_the_weights_of_one_that_was_not_killed(
    image: str, run: Run, samples: list[Sample], ended: Ended, tmp_path: Path
) -> None:
    assert _start_and(image, tmp_path, samples, QUICK, "epoch 4:", ["kill"]) == 137
    last = next(stage for stage in collect_training(tmp_path / "out").stages if stage.name == "last")
    assert set(last.files) == {"model.pt", "model.json", "training.pt"}
    again = run(Kind.TRAINING, {**QUICK, "resume": True}, train=samples[:24], val=samples[24:], model=model_input(last, CLASSES))
    assert again.exit_code == 0, again.log
    assert "goes on after epoch 3 of 6" in again.log
    whole, resumed = (each.out_dir / "models" / "epoch_6" / "model.pt" for each in (ended, again))
    assert whole.read_bytes() == resumed.read_bytes()


def test_a_stop_request_leaves_a_stage_and_exit_code_143(image: str, samples: list[Sample], tmp_path: Path) -> None:
    endless = {**QUICK, "epochs": 1000, "eval_period": 0, "save_period": 0}
    assert _start_and(image, tmp_path, samples, endless, "epoch 1:", ["stop", "-t", "60"]) == 143
    assert [stage.name for stage in collect_training(tmp_path / "out").stages] == ["last"]


@pytest.mark.parametrize(
    ("kind", "changed", "code", "words"),
    [
        (Kind.INFERENCE, {"class_names": ("red", "cyan")}, 300004, "asks for classes ['cyan'], the model knows ['red', 'green']"),
        (Kind.MINING, {"parameters": {"mining_algorithm": "magic"}}, 300001, "choose one of default, random"),
    ],
)
def test_a_failure_has_the_contracts_code_and_names_the_value(
    run: Run, samples: list[Sample], model: ModelInput, kind: Kind, changed: dict[str, Any], code: int, words: str
) -> None:
    ended = run(kind, candidates=samples[:2], model=model, **changed)
    progress = read_progress(ended.out_dir)
    assert ended.exit_code == 1
    assert progress is not None
    assert (progress.state, progress.code) == ("error", code)
    assert words in progress.message
