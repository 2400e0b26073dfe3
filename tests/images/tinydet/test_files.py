"""What tinydet reads and writes, without torch: annotations, parameters, monitor, stages, curves."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from PIL import Image

from contracts.ymir import collect_training, read_progress
from tests.images.image_jobs import IMAGES

App = Callable[[str], ModuleType]
NAMES = ["cat", "dog"]


def test_ark_corners_are_inclusive_and_further_columns_are_ignored(app: App, tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("1, 10, 20, 19, 39, -1.0, 0.0\n0, 0, 0, 0, 0\n")
    boxes, labels = app("data").read_boxes(path, NAMES)
    assert boxes.tolist() == [[10, 20, 20, 40], [0, 0, 1, 1]]
    assert labels.tolist() == [1, 0]


def test_boxes_of_other_classes_and_without_area_are_left_out(app: App, tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("7, 1, 1, 5, 5\n-1, 1, 1, 5, 5\n0, 9, 9, 3, 12\n0, nan, 1, 5, 5\n1, 1, 1, 5, 5\n")
    assert app("data").read_boxes(path, NAMES)[1].tolist() == [1]


def test_an_empty_ark_file_is_a_picture_without_boxes(app: App, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("")
    boxes, labels = app("data").read_boxes(tmp_path / "one.txt", NAMES)
    assert (boxes.shape, labels.shape) == ((0, 4), (0,))


def test_voc_names_are_compared_in_lower_case(app: App, tmp_path: Path) -> None:
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"
    path = tmp_path / "one.xml"
    path.write_text(f"<annotation><object><name> Dog </name>{box}</object><object><name>bird</name>{box}</object></annotation>")
    boxes, labels = app("data").read_boxes(path, NAMES)
    assert (boxes.tolist(), labels.tolist()) == ([[1, 2, 4, 5]], [1])


@pytest.mark.parametrize(
    ("name", "text"), [("a.txt", "1, 2, 3\n"), ("a.txt", "cat, 1, 2, 3, 4\n"), ("a.xml", "<annotation>"), ("b.txt", None)]
)
def test_an_unreadable_annotation_is_named(app: App, tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(app("job_files.contract").ImageError, match=name) as caught:
        app("data").read_boxes(tmp_path / name, NAMES)
    assert caught.value.code == 300002


def test_a_broken_picture_is_left_out_and_all_broken_is_an_error(app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:20])
    rows = [[str(tmp_path / "bad.png"), ""], [str(tmp_path / "good.png"), ""]]
    assert [sample.path.name for sample in app("data").read_samples(rows, NAMES)] == ["good.png"]
    assert "left out" in capsys.readouterr().out
    with pytest.raises(app("job_files.contract").ImageError, match="none of the 1 pictures"):
        app("data").read_samples(rows[:1], NAMES)


def test_the_picture_size_follows_the_smallest_class_and_never_exceeds_the_pictures(app: App) -> None:
    data = app("data")
    small, large = np.array([[0.0, 0, 40, 40]]), np.array([[0.0, 0, 300, 300]])
    sample = [data.Sample(Path("a"), (640, 480), np.concatenate([small, large]), np.array([0, 1]))]
    assert data.choose_image_size(sample) == 384  # 40 of 640 pixels are shown with 24
    assert data.choose_image_size([data.Sample(Path("a"), (160, 160), small / 2, np.array([0]))]) == 160
    assert data.choose_image_size([data.Sample(Path("a"), (640, 480), large, np.array([1]))]) == 128


def test_augmented_boxes_stay_on_their_objects(app: App, tmp_path: Path) -> None:
    data = app("data")
    pixels = np.zeros((96, 128, 3), np.uint8)
    pixels[30:60, 40:80] = 255
    Image.fromarray(pixels).save(tmp_path / "one.png")
    sample = data.Sample(tmp_path / "one.png", (128, 96), np.array([[40.0, 30, 80, 60]]), np.array([0]))
    store = data.PictureStore([sample], 128, 1)
    how = data.Augmentation(0.3, 0.2, 0.0, True, True)
    for number in range(20):
        picture, boxes, _ = store.augmented(0, (number,), how)
        rows, columns = np.nonzero((picture > 190).all(axis=2))
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(boxes[0] - seen).max() < 2


def test_the_same_seed_augments_alike(app: App, tmp_path: Path) -> None:
    data = app("data")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(tmp_path / "one.png")
    store = data.PictureStore([data.Sample(tmp_path / "one.png", (64, 64), np.zeros((0, 4)), np.zeros(0, int))], 64, 1)
    how = data.Augmentation(0.3, 0.2, 0.5, True, True)
    first, again, other = (store.augmented(0, (seed,), how)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_heat_is_one_at_centres_and_weights_of_a_box_sum_to_one(app: App) -> None:
    boxes = np.array([[8.0, 8, 40, 24], [60, 40, 76, 56]])
    targets = app("targets").build_targets(boxes, np.array([0, 1]), 2, (20, 30), 4)
    assert [(targets.heat == 1).sum(), targets.heat[0, 4, 6], targets.heat[1, 12, 17]] == [2, 1, 1]
    assert targets.weight.sum() == pytest.approx(2)
    assert targets.box[:, 4, 6].tolist() == [8, 8, 40, 24]


def test_a_box_over_the_edge_keeps_its_peak_inside(app: App) -> None:
    targets = app("targets").build_targets(np.array([[110.0, 70, 120, 80]]), np.array([0]), 1, (20, 30), 4)
    assert (targets.heat == 1).sum() == 1


def test_the_monitor_is_read_without_a_tolerance(app: App, tmp_path: Path) -> None:
    monitor = app("job_files.contract").Monitor(tmp_path / "monitor.txt", "t1234567", interval_s=0)
    monitor.span(0.5, 1.0)
    monitor.progress(0.5)
    progress = read_progress(tmp_path)
    assert progress is not None
    assert (progress.fraction, progress.state, progress.code, progress.warnings) == (0.75, "running", 0, ())


def test_a_failure_keeps_its_code_message_and_trace(app: App, tmp_path: Path) -> None:
    contract = app("job_files.contract")
    contract.Monitor(tmp_path / "monitor.txt", "t1234567").error(300201, "the loss\tbecame\nnan", "Traceback\n  line")
    progress = read_progress(tmp_path)
    assert progress is not None
    assert (progress.state, progress.code, progress.message) == ("error", 300201, "the loss became nan")
    assert progress.trace.startswith("Traceback")


def test_stages_are_collected_without_a_warning_after_each_addition(app: App, tmp_path: Path) -> None:
    stages = app("job_files.stages").Stages(tmp_path / "models", tmp_path / "models" / "result.yaml", {"iou_thr": 0.5})
    for number in range(1, 14):
        (stages.folder(f"epoch_{number}") / "model.pt").write_bytes(b"x")
        stages.add(f"epoch_{number}", ["model.pt"], {"mAP": number / 20, "tp": 3, "mAR": float("nan")})
        result = collect_training(tmp_path)
        assert (result.best_stage_name, result.warnings) == (f"epoch_{number}", ())
    assert len(result.stages) == 9
    assert sorted(path.name for path in (tmp_path / "models").iterdir() if path.is_dir()) == sorted(stage.name for stage in result.stages)


def test_strings_from_web_forms_become_the_type_of_the_default(app: App) -> None:
    @dataclasses.dataclass(frozen=True)
    class Form:
        epochs: int = 1
        rate: float = 0.5
        mirror: bool = True

    contract = app("job_files.contract")
    assert contract.read_parameters({"epochs": "7", "rate": 1, "mirror": "False", "other": 3}, Form) == Form(7, 1.0, False)
    with pytest.raises(contract.ImageError, match=r"epochs: 'many' is not of type int"):
        contract.read_parameters({"epochs": "many"}, Form)


def test_an_event_file_holds_whole_checksummed_records(app: App, tmp_path: Path) -> None:
    events = app("job_files.events")
    assert events.crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    file = events.EventFile(tmp_path)
    file.add(300, {"val/mAP": 0.5})
    file.close()
    content = next(tmp_path.iterdir()).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    rest = content[8 + 4 + length + 4 :]
    assert len(rest) == 16 + struct.unpack("<Q", rest[:8])[0]
    assert b"val/mAP\x15" + struct.pack("<f", 0.5) in rest


@pytest.mark.parametrize(
    ("template", "form"), [("training", "TrainingParameters"), ("mining", "MiningParameters"), ("infer", "InferParameters")]
)
def test_a_template_says_the_defaults_of_the_code_and_explains_each(app: App, template: str, form: str) -> None:
    path = IMAGES / "tinydet" / "img-man" / f"{template}-template.yaml"
    values = yaml.safe_load(path.read_text())
    assert all(" # " in line for line in path.read_text().splitlines())
    requests = {key: values.pop(key) for key in ("export_format", "export_training_data", "shm_size") if key in values}
    assert values == dataclasses.asdict(getattr(app("parameters"), form)())
    asked = {"training": {"export_format", "shm_size"}, "mining": {"export_format", "export_training_data"}, "infer": set()}
    assert set(requests) == asked[template]
