"""classify built as an image and run as Sluice confines it: no network, read-only root, an ordinary user, no capabilities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contracts.dataset import Annotation, Asset, ModelInput, Sample
from contracts.image import Kind, ObjectType
from contracts.results import TrainingResult
from contracts.ymir import collect_inference, collect_mining, collect_training, read_progress
from tests.images.image_jobs import Ended, model_input

pytestmark = [pytest.mark.docker, pytest.mark.slow]

CLASSES = ("across", "down", "dot")
QUICK = {"epochs": 8, "batch_size": 8, "eval_period": 4, "save_period": 4, "width": 16, "rotate": 5.0}
Run = Callable[..., Ended]


def stripes(folder: Path, count: int, seed: int = 0) -> list[Sample]:
    """Noisy pictures of 32 x 24 pixels with a bar across, a bar down, or a dot."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    return [_stripe(folder, random, number % 3) for number in range(count)]


def _stripe(folder: Path, random: np.random.Generator, label: int) -> Sample:
    pixels = random.integers(0, 90, (24, 32, 3)).astype(np.uint8)
    y, x = random.integers(8, 12), random.integers(10, 18)
    pixels[((slice(y, y + 5), slice(2, 30)), (slice(2, 22), slice(x, x + 5)), (slice(y, y + 6), slice(x, x + 6)))[label]] = 220
    Image.fromarray(pixels).save(folder / "new.png")
    digest = hashlib.sha1((folder / "new.png").read_bytes()).hexdigest()
    path = (folder / "new.png").rename(folder / f"{digest}.png")
    annotation = Annotation(CLASSES[label], 0, 0, 32, 24, shape="image")
    return Sample(Asset(digest, "png", 32, 24, path.stat().st_size), path, (annotation,))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return stripes(tmp_path_factory.mktemp("assets"), 90)


@pytest.fixture(scope="module")
def trained(run: Run, samples: list[Sample]) -> TrainingResult:
    ended = run(Kind.TRAINING, QUICK, train=samples[:60], val=samples[60:])
    assert ended.exit_code == 0, ended.log
    return collect_training(ended.out_dir)


@pytest.fixture(scope="module")
def model(trained: TrainingResult) -> ModelInput:
    return model_input(next(stage for stage in trained.stages if stage.name == "best"), CLASSES, ObjectType.CLASSIFICATION)


def test_training_learns_and_every_stage_is_read_without_a_tolerance(trained: TrainingResult) -> None:
    stages = {stage.name: stage for stage in trained.stages}
    assert set(stages) == {"epoch_4", "epoch_8", "last", "best"}
    assert stages["best"].metrics["top1"] > 0.9
    assert set(stages["last"].metrics) == {"top1", "top5", "mean_class_accuracy", "loss", "ece"}
    assert (trained.best_stage_name, trained.warnings) == ("best", ())
    assert set(stages["best"].files) == {"model.pt", "model.json"}


def test_the_same_seed_gives_the_same_model(run: Run, samples: list[Sample]) -> None:
    ended = [run(Kind.TRAINING, {**QUICK, "epochs": 1}, train=samples[:24], val=samples[60:66]) for _ in range(2)]
    weights = [(each.out_dir / "models" / "last" / "model.pt").read_bytes() for each in ended]
    assert weights[0] == weights[1]


def test_one_container_mines_infers_and_leaves_out_a_broken_picture(
    run: Run, samples: list[Sample], model: ModelInput, tmp_path: Path
) -> None:
    broken = stripes(tmp_path, 1, seed=9)[0]
    broken.path.write_bytes(broken.path.read_bytes()[:200])
    ended = run(Kind.MINING_INFERENCE, {"top": 0, "budget": 3}, candidates=[*samples[60:], broken], model=model)
    assert ended.exit_code == 0, ended.log
    assets = [*(sample.asset for sample in samples[60:]), broken.asset]
    result = collect_inference(ended.out_dir, assets, ObjectType.CLASSIFICATION, CLASSES)
    assert result.warnings == ()
    right = [result.predictions[sample.asset.id][0].class_name == sample.annotations[0].class_name for sample in samples[60:]]
    assert sum(right) >= 27
    sums = [sum(label.score or 0 for label in labels) for labels in result.predictions.values()]
    assert sums == pytest.approx([1.0] * 30, abs=1e-5)
    assert len(collect_mining(ended.out_dir, assets).ranking) == 30
    assert f"left out: /in/assets/{broken.asset.relative_path}" in ended.log


@pytest.mark.parametrize("algorithm", ["cald", "hard_examples"])
def test_every_candidate_is_ranked_and_the_chosen_ones_have_reasons(
    run: Run, samples: list[Sample], model: ModelInput, algorithm: str
) -> None:
    ended = run(Kind.MINING, {"mining_algorithm": algorithm, "budget": 4}, candidates=samples[60:80], model=model)
    assert ended.exit_code == 0, ended.log
    result = collect_mining(ended.out_dir, [sample.asset for sample in samples[60:80]])
    assert ({asset for asset, _ in result.ranking}, result.warnings) == ({sample.asset.id for sample in samples[60:80]}, ())
    reasons = [json.loads(line) for line in (ended.out_dir / "mining-reasons.jsonl").read_text().splitlines()]
    chosen = len(reasons) if algorithm == "hard_examples" else 4
    assert [Path(row["image"]).stem for row in reasons] == [asset for asset, _ in result.ranking[:chosen]]
    assert all(row["texts"] and row["hard"] and 0 < row["score"] <= 1 for row in reasons)


def test_training_continues_from_a_model_and_says_which_classes_it_kept(run: Run, samples: list[Sample], model: ModelInput) -> None:
    given = {"class_names": ("dot", "cross"), "train": samples[:24], "val": samples[60:], "model": model}
    ended = run(Kind.TRAINING, {**QUICK, "epochs": 1}, **given)
    assert ended.exit_code == 0, ended.log
    assert "kept ['dot'], new ['cross'], dropped ['across', 'down']" in ended.log
    assert "left out 16 pictures without a label of the classes" in ended.log


def test_a_failure_has_the_contracts_code_and_names_the_value(run: Run, samples: list[Sample], model: ModelInput) -> None:
    for parameters, kind, words in (
        ({"mining_algorithm": "magic"}, Kind.MINING, "mining_algorithm 'magic': choose one of default"),
        ({"batch_size": 0}, Kind.INFERENCE, "batch_size must be above 0"),
    ):
        ended = run(kind, parameters, candidates=samples[:2], model=model)
        progress = read_progress(ended.out_dir)
        assert ended.exit_code == 1
        assert progress is not None
        assert (progress.state, progress.code) == ("error", 300001)
        assert words in progress.message
