"""What classify reads, writes and measures, without torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.images.image_jobs import IMAGES

App = Callable[[str], ModuleType]


def test_labels_are_read_once_each_and_other_classes_are_left_out(app: App, tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("2\n0\n2\n7\n-1\n\n")
    assert app("data").read_labels(path, 3) == (2, 0)
    path.write_text("")
    assert app("data").read_labels(path, 3) == ()


@pytest.mark.parametrize("text", ["cat\n", "1.5\n", "1, 2, 3\n", None])
def test_an_unreadable_annotation_is_named(app: App, tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "one.txt").write_text(text)
    with pytest.raises(app("job_files.contract").ImageError, match=r"one\.txt") as caught:
        app("data").read_labels(tmp_path / "one.txt", 3)
    assert caught.value.code == 300002


def test_pictures_without_a_label_and_broken_ones_are_left_out(app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:20])
    (tmp_path / "one.txt").write_text("1\n")
    (tmp_path / "none.txt").write_text("")
    rows = [[str(tmp_path / picture), str(tmp_path / text)] for picture, text in (("bad.png", "one.txt"), ("good.png", "none.txt"))]
    with pytest.raises(app("job_files.contract").ImageError, match="none of the 2 pictures has a label"):
        app("data").read_samples(rows, ["cat", "dog"])
    samples = app("data").read_samples([*rows, [str(tmp_path / "good.png"), str(tmp_path / "one.txt")]], ["cat", "dog"])
    assert [(sample.path.name, sample.labels, sample.longest_side) for sample in samples] == [("good.png", (1,), 40)]
    assert "left out 1 pictures without a label" in capsys.readouterr().out


def test_a_picture_keeps_its_shape_on_a_grey_square(app: App, tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), (250, 0, 0)).save(tmp_path / "one.png")
    square = app("data").read_picture(tmp_path / "one.png", 32)
    assert square.shape == (32, 32, 3)
    assert (square[:8] == 114).all()
    assert (square[8:24] == [250, 0, 0]).all()


def test_several_labels_share_the_target(app: App) -> None:
    data = app("data")
    targets = data.soft_targets([data.Sample(Path("a"), (2, 0), 9), data.Sample(Path("b"), (1,), 9)], 3)
    assert targets.tolist() == [[0.5, 0, 0.5], [0, 1, 0]]


@pytest.mark.parametrize(("sides", "size"), [([8, 8, 900], 32), ([100, 90, 110], 96), ([640], 128)])
def test_the_picture_size_follows_the_usual_picture_within_bounds(app: App, sides: list[int], size: int) -> None:
    data = app("data")
    assert data.choose_image_size([data.Sample(Path("a"), (0,), side) for side in sides]) == size


def test_metrics_of_known_guesses(app: App) -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]))
    metrics = app("metrics").evaluate(logits, [(0,), (1,), (0, 2)])
    assert (metrics.top1, metrics.top5) == (pytest.approx(2 / 3), 1.0)  # any of a picture's labels is right
    assert metrics.mean_class_accuracy == pytest.approx((1.0 + 0.0) / 2)
    assert metrics.loss == pytest.approx(-np.log([0.7, 0.3, 0.2]).mean())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), true=st.floats(0.3, 4.0))
def test_the_temperature_that_spoilt_the_logits_is_found_again(app: App, seed: int, true: float) -> None:
    metrics = app("metrics")
    random = np.random.default_rng(seed)
    calm = random.normal(0, 2, (4000, 4))
    labels = (metrics.softmax(calm).cumsum(1) < random.random((4000, 1))).sum(1).clip(max=3)
    found = metrics.fit_temperature(calm * true, labels)
    assert found == pytest.approx(true, rel=0.15)
    assert metrics.negative_log_likelihood(calm * true, labels, found) <= metrics.negative_log_likelihood(calm * true, labels) + 1e-3


def test_a_classifier_that_is_always_right_keeps_a_finite_temperature(app: App) -> None:
    temperature = app("metrics").fit_temperature(np.eye(5) * 8.0, np.arange(5))
    assert 0.5 < temperature < 10


def test_a_sure_and_right_classifier_is_calibrated_and_a_sure_and_wrong_one_is_not(app: App) -> None:
    error = app("metrics").calibration_error
    assert error(np.array([1.0, 1.0]), np.array([True, True])) == 0.0
    assert error(np.array([1.0, 1.0]), np.array([False, True])) == 0.5


def test_the_hash_of_a_picture_hardly_changes_with_its_size_and_light(app: App) -> None:
    hash_of = app("job_files.pictures").difference_hash
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(40, 200, (6, 7, 3)).astype(np.uint8))
    large, small = (np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)) for size in ((128, 96), (64, 48)))
    brighter = (large.astype(int) + 30).clip(0, 255).astype(np.uint8)
    other = np.asarray(Image.fromarray(random.integers(40, 200, (6, 7, 3)).astype(np.uint8)).resize((128, 96), Image.Resampling.BICUBIC))
    assert (hash_of(large) ^ hash_of(small)).bit_count() <= 6
    assert (hash_of(large) ^ hash_of(brighter)).bit_count() <= 6
    assert (hash_of(large) ^ hash_of(other)).bit_count() >= 16
    assert hash_of(large) < 2**64


@pytest.mark.parametrize(
    ("template", "form"), [("training", "TrainingParameters"), ("mining", "MiningParameters"), ("infer", "InferParameters")]
)
def test_a_template_says_the_defaults_of_the_code_and_explains_each(app: App, template: str, form: str) -> None:
    path = IMAGES / "classify" / "img-man" / f"{template}-template.yaml"
    values = yaml.safe_load(path.read_text())
    assert all(" # " in line for line in path.read_text().splitlines())
    requests = {key: values.pop(key) for key in ("export_format", "export_training_data", "shm_size") if key in values}
    assert values == dataclasses.asdict(getattr(app("parameters"), form)())
    asked = {"training": {"export_format", "shm_size"}, "mining": {"export_format", "export_training_data"}, "infer": set()}
    assert set(requests) == asked[template]
