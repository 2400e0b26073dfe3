"""tinydet built as an image and run as Sluice confines it: no network, read-only root, an ordinary user, no capabilities."""

from __future__ import annotations

import json
import subprocess
import time
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
QUICK = {"epochs": 40, "batch_size": 4, "eval_period": 0, "flip_horizontal": True}
Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return make_samples(tmp_path_factory.mktemp("assets"), 48, CLASSES)


@pytest.fixture(scope="module")
def trained(run: Run, samples: list[Sample]) -> TrainingResult:
    ended = run(Kind.TRAINING, QUICK, train=samples[:36], val=samples[36:])
    assert ended.exit_code == 0, ended.log
    return collect_training(ended.out_dir)


@pytest.fixture(scope="module")
def model(trained: TrainingResult) -> ModelInput:
    return model_input(next(stage for stage in trained.stages if stage.name == "best"), CLASSES)


def test_training_learns_and_every_stage_is_read_without_a_tolerance(trained: TrainingResult) -> None:
    stages = {stage.name: stage for stage in trained.stages}
    assert set(stages) == {"epoch_10", "epoch_20", "epoch_30", "epoch_40", "last", "best"}
    assert stages["best"].metrics["mAP"] > 0.7
    assert {"mAP", "mAR", "tp", "fp", "fn"} <= set(stages["last"].metrics)
    assert (trained.best_stage_name, trained.warnings) == ("best", ())


def test_the_same_seed_gives_the_same_model(run: Run, samples: list[Sample]) -> None:
    ended = [run(Kind.TRAINING, {"epochs": 2, "batch_size": 4}, train=samples[:12], val=samples[36:40]) for _ in range(2)]
    first, again = (json.dumps(collect_training(each.out_dir).stages[0].metrics) for each in ended)
    assert first == again
    weights = [(each.out_dir / "models" / "last" / "model.pt").read_bytes() for each in ended]
    assert weights[0] == weights[1]


def test_inference_finds_what_it_was_taught(run: Run, samples: list[Sample], model: ModelInput) -> None:
    ended = run(Kind.INFERENCE, candidates=samples[36:], model=model)
    assets = [sample.asset for sample in samples[36:]]
    result = collect_inference(ended.out_dir, assets, ObjectType.DETECTION, CLASSES)
    best = {asset: max(boxes, key=lambda box: box.score or 0).class_name for asset, boxes in result.predictions.items() if boxes}
    right = [best.get(sample.asset.id) == sample.annotations[0].class_name for sample in samples[36:]]
    assert sum(right) >= 10
    assert result.warnings == ()


@pytest.mark.parametrize("algorithm", ["default", "cald", "aldd", "ppal", "hard_examples"])
def test_every_candidate_is_ranked_and_the_chosen_ones_have_reasons(
    run: Run, samples: list[Sample], model: ModelInput, algorithm: str
) -> None:
    """One algorithm for each thing that the detector gives the mining core: boxes and vectors, views, heatmaps, features of boxes, other views."""
    ended = run(Kind.MINING, {"mining_algorithm": algorithm, "budget": 4}, candidates=samples[:20], model=model)
    assert ended.exit_code == 0, ended.log
    result = collect_mining(ended.out_dir, [sample.asset for sample in samples[:20]])
    assert {asset for asset, _ in result.ranking} == {sample.asset.id for sample in samples[:20]}
    assert result.warnings == ()
    reasons = [json.loads(line) for line in (ended.out_dir / "mining-reasons.jsonl").read_text().splitlines()]
    chosen = len(reasons) if algorithm == "hard_examples" else 4
    assert [Path(row["image"]).stem for row in reasons] == [asset for asset, _ in result.ranking[:chosen]]
    assert all(row["texts"] and row["hard"] and 0 < row["score"] <= 1 for row in reasons)


def test_one_container_mines_and_infers_and_leaves_out_a_broken_picture(
    run: Run, samples: list[Sample], model: ModelInput, tmp_path: Path
) -> None:
    broken = make_samples(tmp_path, 1, CLASSES, seed=9)[0]
    broken.path.write_bytes(broken.path.read_bytes()[:200])
    ended = run(Kind.MINING_INFERENCE, candidates=[*samples[:5], broken], model=model)
    assets = [sample.asset for sample in samples[:5]]
    assert ended.exit_code == 0, ended.log
    assert len(collect_mining(ended.out_dir, [*assets, broken.asset]).ranking) == 5
    assert len(collect_inference(ended.out_dir, [*assets, broken.asset], ObjectType.DETECTION, CLASSES).predictions) == 5
    assert f"left out: /in/assets/{broken.asset.relative_path}" in ended.log


def test_training_continues_from_a_model_and_says_which_classes_it_kept(run: Run, samples: list[Sample], model: ModelInput) -> None:
    ended = run(Kind.TRAINING, {"epochs": 1}, class_names=("green", "blue"), train=samples[:16], val=samples[36:], model=model)
    assert ended.exit_code == 0, ended.log
    assert "kept ['green'], new ['blue'], dropped ['red']" in ended.log


@pytest.mark.parametrize(
    ("kind", "changed", "code", "words"),
    [
        (Kind.INFERENCE, {"class_names": ("red", "cyan")}, 300004, "asks for classes ['cyan'], the model knows ['red', 'green']"),
        (Kind.MINING, {"parameters": {"mining_algorithm": "magic"}}, 300001, "choose one of default, random"),
        (Kind.INFERENCE, {"gpu_count": 1}, 300102, "gpu_id '0'"),
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


def test_a_stop_request_leaves_a_stage_and_exit_code_143(image: str, samples: list[Sample], tmp_path: Path) -> None:
    given = {"class_names": CLASSES, "train": samples[:36], "val": samples[36:]}
    stage_job(tmp_path, ContainerPaths(), "tinydet", Kind.TRAINING, {"epochs": 1000, "eval_period": 0, "save_period": 0}, given)
    name = f"sluice-test-{uuid.uuid4().hex[:12]}"
    with subprocess.Popen(confined_command(image, tmp_path, name), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while "epoch 1:" not in (process.stdout.readline() if process.stdout else "epoch 1:"):
            time.sleep(0.01)
        subprocess.run(["docker", "stop", "-t", "60", name], check=True, capture_output=True)
        assert process.wait(60) == 143
    assert [stage.name for stage in collect_training(tmp_path / "out").stages] == ["last"]
