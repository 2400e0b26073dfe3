"""The folder to copy obeys the contract for every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.dataset import ModelInput, Sample
from contracts.image import Kind, ObjectType
from contracts.results import TrainingResult
from contracts.ymir import collect_inference, collect_mining, collect_training, read_metadata, read_progress
from tests.images.image_jobs import IMAGES, Ended, make_samples, model_input

CLASSES = ("cat", "dog")
Run = Callable[..., Ended]


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    return make_samples(tmp_path / "assets", 6, CLASSES)


@pytest.fixture
def model(run_image: Run, samples: list[Sample]) -> ModelInput:
    return model_input(_train(run_image, samples).stages[0], CLASSES)


def _train(run_image: Run, samples: list[Sample]) -> TrainingResult:
    ended = run_image("_template", Kind.TRAINING, class_names=CLASSES, train=samples[:4], val=samples[4:])
    assert ended.exit_code == 0, ended.log
    return collect_training(ended.out_dir)


def test_it_offers_every_kind_without_a_warning() -> None:
    metadata = read_metadata({path.name: path.read_bytes() for path in (IMAGES / "_template" / "img-man").iterdir()})
    assert metadata.kinds == (Kind.TRAINING, Kind.MINING, Kind.INFERENCE)
    assert metadata.warnings == ()
    assert all(parameter.help for template in metadata.templates for parameter in template.parameters)


def test_training_leaves_one_stage_that_the_strict_reader_accepts(run_image: Run, samples: list[Sample]) -> None:
    result = _train(run_image, samples)
    assert [stage.name for stage in result.stages] == ["last"]
    assert list(result.stages[0].files) == ["model.json"]
    assert result.warnings == ()


def test_mining_ranks_every_candidate_once(run_image: Run, samples: list[Sample], model: ModelInput) -> None:
    ended = run_image("_template", Kind.MINING, class_names=CLASSES, candidates=samples, model=model)
    result = collect_mining(ended.out_dir, [sample.asset for sample in samples])
    assert {asset for asset, _ in result.ranking} == {sample.asset.id for sample in samples}
    assert result.warnings == ()


def test_inference_gives_every_candidate_its_boxes(run_image: Run, samples: list[Sample], model: ModelInput) -> None:
    ended = run_image("_template", Kind.INFERENCE, class_names=CLASSES, candidates=samples, model=model)
    result = collect_inference(ended.out_dir, [sample.asset for sample in samples], ObjectType.DETECTION, CLASSES)
    assert {box.class_name for boxes in result.predictions.values() for box in boxes} == set(CLASSES)
    assert result.warnings == ()


def test_one_container_mines_and_infers(run_image: Run, samples: list[Sample], model: ModelInput) -> None:
    ended = run_image("_template", Kind.MINING_INFERENCE, class_names=CLASSES, candidates=samples, model=model)
    assets = [sample.asset for sample in samples]
    assert len(collect_mining(ended.out_dir, assets).ranking) == 6
    assert len(collect_inference(ended.out_dir, assets, ObjectType.DETECTION, CLASSES).predictions) == 6
    progress = read_progress(ended.out_dir)
    assert progress is not None
    assert (progress.fraction, progress.state) == (1.0, "running")


def test_a_failure_is_told_in_the_monitor_with_its_trace(run_image: Run, samples: list[Sample], model: ModelInput) -> None:
    ended = run_image("_template", Kind.INFERENCE, {"conf_thres": None}, class_names=CLASSES, candidates=samples, model=model)
    progress = read_progress(ended.out_dir)
    assert ended.exit_code == 1
    assert progress is not None
    assert (progress.state, progress.code) == ("error", 160004)
    assert "TypeError" in progress.message
    assert "Traceback" in progress.trace
