"""Label Studio: exports as it writes them, and the way there and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.dataset import Annotation, Marks
from contracts.seams import Format, ImportedImage, PredictedBy
from plugins.formats.coco import CocoFormat
from plugins.formats.labelstudio import LabelStudioFormat
from plugins.formats.labelstudio_regions import decode_brush, encode_brush
from plugins.formats.mask_runs import mask_of
from tests.conformance.format import FormatConformance, images, skips
from tests.plugins.formats.samples import make_sample, read_back, same
from tests.plugins.formats.samples import write as write_samples

Write = Callable[[str, str | bytes], Path]
MakePicture = Callable[..., Path]


def region(kind: str = "rectanglelabels", labels: list[str] | None = None, **value: Any) -> dict[str, Any]:
    """As an export has it, of a picture of 100 x 80 pixels."""
    box = value or {"x": 10, "y": 25, "width": 20, "height": 50, "rotation": 0}
    return {
        "original_width": 100, "original_height": 80, "image_rotation": 0, "value": {**box, kind: labels or ["Car"]},
        "id": "r1", "from_name": "label", "to_name": "image", "type": kind, "origin": "manual",
    }  # fmt: skip


def answer(*regions: dict[str, Any], **facts: Any) -> dict[str, Any]:
    return {"id": 7, "completed_by": 1, "result": list(regions), "was_cancelled": False, "ground_truth": False,
            "updated_at": "2024-05-07T16:27:17.914777Z", **facts}  # fmt: skip


def task(*annotations: dict[str, Any], image: str = "/data/upload/3/0a1b2c3d-a.jpg", **facts: Any) -> dict[str, Any]:
    return {"id": 1, "annotations": list(annotations), "drafts": [], "predictions": [], "data": {"image": image}, "meta": {}, **facts}


class TestLabelStudioFormat(FormatConformance):
    @pytest.fixture
    def format_(self) -> LabelStudioFormat:
        return LabelStudioFormat()

    @pytest.fixture
    def folder(self, folder: Path, make_picture: MakePicture, write: Write) -> Path:
        make_picture("a.jpg")
        make_picture("b.jpg")
        write("project-1.json", json.dumps([task(answer(region())), task(answer(region()), image="/data/upload/3/0a1b2c3d-b.jpg")]))
        return folder

    def test_what_it_writes_reads_back_equal(self, format_: Format, tmp_path: Path) -> None:
        """To its precision."""
        boxes = [Annotation(name, 1.1, 2.3, 30.7, 20.9, annotated_by="human") for name in ("cat", "red fox")]
        sample = make_sample(tmp_path, 1, boxes, split="val")
        assert write_samples(format_, tmp_path / "out", [sample]) == []
        same(boxes, read_back(format_, tmp_path / "out")[0][sample.asset.id].annotations, 1e-6)


def _read(folder: Path, make_picture: MakePicture, write: Write, *tasks: Any) -> tuple[ImportedImage, list[Any]]:
    make_picture("a.jpg")
    write("export.json", json.dumps(list(tasks)))
    found = list(LabelStudioFormat().read(folder))
    return images(found)[0], skips(found)


def test_rectangles_are_percents(folder: Path, make_picture: MakePicture, write: Write) -> None:
    image, notes = _read(folder, make_picture, write, task(answer(region())))
    assert image.annotations == (Annotation("car", 10, 20, 20, 40, annotated_by="human"),)
    assert (image.declared_size, notes) == ((100, 80), [])


def test_a_turned_rectangle_turns_about_its_corner(folder: Path, make_picture: MakePicture, write: Write) -> None:
    image, _ = _read(folder, make_picture, write, task(answer(region(x=50, y=25, width=20, height=12.5, rotation=90))))
    (box,) = image.annotations or ()
    assert box.segmentation is not None
    assert box.segmentation[0] == pytest.approx([50, 20, 50, 40, 40, 40, 40, 20])
    assert box.attributes == {"rotation": 90}


def test_polygons_ellipses_and_points(folder: Path, make_picture: MakePicture, write: Write) -> None:
    shapes = [
        region("polygonlabels", points=[[10, 10], [20, 10], [20, 50]]),
        region("ellipselabels", x=50, y=50, radiusX=10, radiusY=12.5, rotation=0),
        region("ellipselabels", x=50, y=50, radiusX=10, radiusY=25, rotation=0),
        region("keypointlabels", x=50, y=50, width=0.4),
        region("labels", ["Car", "Red"], x=0, y=0, width=100, height=100),
    ]
    image, notes = _read(folder, make_picture, write, task(answer(*shapes)))
    assert notes == []
    assert [(box.class_name, box.shape, box.points) for box in image.annotations or ()] == [
        ("car", "box", ()),
        ("car", "circle", (50, 40, 10)),
        ("car", "box", ()),
        ("car", "point", (50, 40)),
        ("car", "box", ()),
        ("red", "box", ()),
    ]
    assert (image.annotations or ())[0].segmentation == [[10, 8, 20, 8, 20, 40]]


def test_choices_are_labels_of_the_picture_and_those_about_a_region_its_attributes(
    folder: Path, make_picture: MakePicture, write: Write
) -> None:
    about = {"id": "r1", "from_name": "colour", "to_name": "image", "type": "choices", "value": {"x": 1, "y": 2, "choices": ["red"]}}
    whole = {"id": "c1", "from_name": "weather", "to_name": "image", "type": "choices", "value": {"choices": ["Rain", "Night"]}}
    image, notes = _read(folder, make_picture, write, task(answer(region(), about, whole)))
    assert notes == []
    assert [(box.class_name, box.shape, dict(box.attributes)) for box in image.annotations or ()] == [
        ("car", "box", {"colour": "red"}),
        ("rain", "image", {}),
        ("night", "image", {}),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "/data/upload/3/0a1b2c3d-a%20b.jpg",
        "upload/3/0a1b2c3d-a b.jpg",
        "/data/local-files/?d=photos%2Fa%20b.jpg",
        "https://example.org/photos/a%20b.jpg?token=x#y",
        "s3://bucket/photos/a b.jpg",
        "a b.jpg",
        "a b",
    ],
)
def test_pictures_are_found_by_whatever_their_task_calls_them(folder: Path, make_picture: MakePicture, write: Write, name: str) -> None:
    make_picture("photos/a b.jpg")
    write("export.json", json.dumps([task(answer(region()), image=name)]))
    (image,) = images(list(LabelStudioFormat().read(folder)))
    assert (image.name, len(image.annotations or ())) == ("photos/a b.jpg", 1)


def test_a_picture_in_a_bucket_is_given_by_its_address(folder: Path, write: Write) -> None:
    write("export.json", json.dumps([task(answer(region()), image="s3://bucket/x.jpg"), task(image="https://example.org/x.jpg")]))
    found = list(LabelStudioFormat().read(folder))
    assert [(image.path, len(image.annotations or ())) for image in images(found)] == [("s3://bucket/x.jpg", 1)]
    assert [skip.place for skip in skips(found)] == ["export.json#[1]"]


def test_skipped_tasks_are_unannotated_and_empty_ones_show_nothing(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for name in "abc":
        make_picture(f"{name}.jpg")
    tasks = [task(answer(region(), was_cancelled=True), image="a.jpg"), task(image="b.jpg"), task(answer(), image="c.jpg")]
    write("export.json", json.dumps(tasks))
    found = list(LabelStudioFormat().read(folder))
    assert [image.annotations for image in images(found)] == [None, None, ()]
    assert [(skip.place, skip.what) for skip in skips(found)] == [("export.json#[0]", "mended")]


def test_of_several_annotations_the_ground_truth_counts_else_the_newest(folder: Path, make_picture: MakePicture, write: Write) -> None:
    old, new = answer(region(labels=["Old"]), updated_at="2023"), answer(region(labels=["New"]), updated_at="2024")
    truth = answer(region(labels=["Truth"]), ground_truth=True, updated_at="2022")
    image, notes = _read(folder, make_picture, write, task(new, old))
    assert [box.class_name for box in image.annotations or ()] == ["new"]
    assert [note.what for note in notes] == ["box"]
    write("export.json", json.dumps([task(new, truth, old)]))
    (image,) = images(list(LabelStudioFormat().read(folder)))
    assert [box.class_name for box in image.annotations or ()] == ["truth"]


def test_predictions_are_kept_apart_and_one_model_counts(folder: Path, make_picture: MakePicture, write: Write) -> None:
    ours = {"model_version": "yolo-7", "score": 0.5, "created_at": "2024", "result": [{**region(), "score": 0.25}, region(labels=["Bus"])]}
    other = {"model_version": "older", "score": 0.5, "created_at": "2023", "result": [region()]}
    make_picture("a.jpg")
    write("export.json", json.dumps([task(predictions=[other, ours])]))
    found = list(LabelStudioFormat().read(folder))
    (image,) = images(found)
    assert [(box.class_name, box.score) for box in image.predictions or ()] == [("car", 0.25), ("bus", 0.5)]
    assert (image.annotations, PredictedBy("yolo-7") in found) == (None, True)
    assert ["1 predictions of other models" in skip.reason for skip in skips(found)] == [True]


@pytest.mark.parametrize(
    "broken",
    [
        region(x="a", y=1, width=1, height=1),
        region(x=float("nan"), y=1, width=1, height=1),
        region(x=1, y=1, width=1e300, height=1),
        region(x=1, y=1, width=1, height=1, rotation="left"),
        region("polygonlabels", points=[[1, 2], [3]]),
        region("polygonlabels", points=[[1, 2], [3, 4]]),
        region("ellipselabels", x=1, y=1, radiusX=0, radiusY=1),
        region("brushlabels", rle=[0, 1, 2], format="rle"),
        region("brushlabels", rle="abc"),
        region(labels=[""]),
        region(labels=[7.5]),
        {**region(), "original_width": None},
        {**region(), "original_width": 10**400},
        {**region(), "image_rotation": 90},
        {**region(), "value": "x"},
        {"type": "videorectangle", "value": {}},
        "text",
        None,
    ],
)
def test_a_broken_region_is_named_and_the_others_are_kept(folder: Path, make_picture: MakePicture, write: Write, broken: Any) -> None:
    image, notes = _read(folder, make_picture, write, task(answer(broken, region())))
    assert len(image.annotations or ()) == 1
    assert [(note.place, note.what) for note in notes] == [("export.json#[0]/annotations[0]/result[0]", "box")]


@pytest.mark.parametrize(
    "broken",
    [
        None,
        7,
        [],
        {},
        {"data": None, "annotations": []},
        {"data": {"image": 7}, "annotations": []},
        {"data": {"image": "../../etc/passwd"}, "annotations": [7, None, {"result": {}}]},
        {"data": {"image": "a\0.jpg"}, "annotations": []},
        {"data": {"image": "http://[broken/a.jpg"}, "annotations": []},
        {"data": {"image": "\ud800.jpg"}, "annotations": []},
    ],
)
def test_a_broken_task_is_named(folder: Path, make_picture: MakePicture, write: Write, broken: Any) -> None:
    make_picture("a.jpg")
    write("export.json", json.dumps([task(answer(region())), broken]))
    found = list(LabelStudioFormat().read(folder))
    assert len(images(found)) == 1
    assert [(skip.place, skip.what) for skip in skips(found)] == [("export.json#[1]", "image")]


def test_a_file_for_each_task_is_read_and_pictures_without_a_task_are_unannotated(
    folder: Path, make_picture: MakePicture, write: Write
) -> None:
    make_picture("a.jpg")
    make_picture("b.jpg")
    write("tasks/1.json", json.dumps(task(answer(region()), image="a.jpg"), indent=2))
    assert LabelStudioFormat().detect(folder)
    assert CocoFormat().detect(folder) == ""
    assert [image.annotations is None for image in images(list(LabelStudioFormat().read(folder)))] == [False, True]


def test_brush_masks_are_read_from_repeated_and_from_plain_runs() -> None:
    """A picture of 4 x 2 with the middle of the first row set, once by our own writer and once by hand."""
    size = (4, 2)
    mask = mask_of(b"\x01\x01", (1, 0, 2, 1), size)
    assert decode_brush(encode_brush(mask), size) == bytes([0, 1, 1, 0, 0, 0, 0, 0])
    bits = f"{32:032b}" + f"{7:05b}" + "".join(f"{length - 1:04b}" for length in (3, 4, 8, 16))
    bits += "1" + "00" + f"{3:03b}" + f"{0:08b}" + "1" + "00" + f"{7:03b}" + f"{255:08b}" + "0" + "01" + f"{1:04b}" + f"{0:016b}"
    bits += "1" + "10" + f"{17:08b}" + f"{0:08b}"
    bits += "0" * (-len(bits) % 8)
    assert decode_brush([int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)], size) == bytes([0, 1, 1, 0, 0, 0, 0, 0])


def test_what_a_person_confirms_there_comes_back_as_labeled(tmp_path: Path) -> None:
    """As Label Studio does it: the task is imported with its pre-annotation, a person submits it, the project is exported."""
    box = Annotation("cat", 6.0, 4.0, 12.0, 8.0, annotated_by="first@best")
    sample = make_sample(tmp_path, 1, [box], marks=Marks("to_be_confirmed"), split="pool")
    write_samples(LabelStudioFormat(), tmp_path / "out", [sample])
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert (tasks[0]["annotations"], len(tasks[0]["predictions"])) == ([], 1)
    config = (tmp_path / "out" / "label_config.xml").read_text()
    assert '<RectangleLabels name="box" toName="image"><Label value="cat"/>' in config
    tasks[0]["annotations"] = [answer(*tasks[0]["predictions"][0]["result"])]
    (tmp_path / "out" / "tasks.json").write_text(json.dumps(tasks))
    image = read_back(LabelStudioFormat(), tmp_path / "out")[0][sample.asset.id]
    assert (image.marks.state, image.predictions, image.splits) == ("", None, ("pool",))
    same(image.annotations, [replace(box, annotated_by="human")], 1e-6)


def test_what_label_studio_cannot_draw_is_said(tmp_path: Path) -> None:
    line = Annotation("cat", 1.0, 1.0, 5.0, 5.0, shape="line", points=(1.0, 1.0, 6.0, 6.0))
    parts = Annotation("cat", 0.0, 0.0, 30.0, 20.0, segmentation=[[0.0, 0.0, 3.0, 0.0, 3.0, 3.0], [5.0, 5.0, 30.0, 5.0, 30.0, 20.0]])
    warnings = write_samples(LabelStudioFormat(), tmp_path / "out", [make_sample(tmp_path, 1, [line, parts])])
    assert [warning.code for warning in warnings] == ["export_parts", "export_shape"]
