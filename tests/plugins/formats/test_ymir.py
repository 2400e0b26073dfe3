"""YMIR folders: pictures, ground truth and predictions side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.dataset import Annotation, Marks
from contracts.seams import ClassNames, Export, ImportedImage, PredictedBy
from plugins.formats.ymir import YmirFormat
from tests.conformance.format import FormatConformance, images, skips
from tests.plugins.formats import exports
from tests.plugins.formats.exports import by_name, make_sample, mask, plain, round_trip

Write = Callable[[str, str | bytes], Path]
MakePicture = Callable[..., Path]


def xml(name: str = "cat", more: str = "") -> str:
    box = "<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>30</xmax><ymax>50</ymax></bndbox>"
    return f"<annotation><object><name>{name}</name>{box}{more}</object></annotation>"


def coco(*annotations: dict[str, Any], names: tuple[str, ...] = ("1.jpg",)) -> str:
    pictures = [{"id": number, "file_name": name, "width": 100, "height": 80} for number, name in enumerate(names, start=1)]
    entries = [{"id": n, "image_id": 1, "category_id": 0, "iscrowd": 0, "bbox": [10, 20, 21, 31], **a} for n, a in enumerate(annotations)]
    return json.dumps({"images": pictures, "annotations": entries, "categories": [{"id": 0, "name": "cat"}]})


def read(folder: Path) -> tuple[dict[str, ImportedImage], list[str]]:
    found = list(YmirFormat().read(folder))
    return {image.name: image for image in images(found)}, [skip.place for skip in skips(found)]


class TestYmirFormat(FormatConformance):
    @pytest.fixture
    def format_(self) -> YmirFormat:
        return YmirFormat()

    @pytest.fixture
    def folder(self, folder: Path, make_picture: MakePicture, write: Write) -> Path:
        for number in (1, 2, 3):
            make_picture(f"set/images/{number}.jpg")
        write("set/gt/1.xml", xml())
        write("set/pred/coco-annotations.json", coco({"confidence": 0.5}, names=("1.jpg", "2.jpg")))
        write("set/pred/meta.yaml", "eval_class_names: [cat]\nmodel: {model_name: tinydet, mAP: 0.5}\n")
        return folder


@pytest.mark.parametrize("level", ["", "a/", "a/b/"])
@pytest.mark.parametrize(("pictures", "gt"), [("images", "gt"), ("IMAGES", "GT"), ("JPEGImages", "Annotations"), ("jpegimages", "gt")])
def test_the_folders_are_found_down_to_the_third_level_in_any_case(
    folder: Path, make_picture: MakePicture, write: Write, level: str, pictures: str, gt: str
) -> None:
    make_picture(f"{level}{pictures}/1.jpg")
    write(f"{level}{gt}/1.xml", xml())
    found, notes = read(folder)
    assert [box.class_name for box in found[f"{level}{pictures}/1.jpg"].annotations or ()] == ["cat"]
    assert notes == []


def test_vocs_own_names_alone_are_vocs(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("JPEGImages/1.jpg")
    write("Annotations/1.xml", xml())
    assert YmirFormat().detect(folder) == ""


def test_predictions_have_scores_and_their_model_is_named(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for number in (1, 2):
        make_picture(f"images/{number}.jpg")
    write("gt/1.xml", xml())
    write("pred/1.xml", xml("dog", "<confidence>0.75</confidence>"))
    write("pred/meta.yaml", "eval_class_names: [dog]\nmodel:\n  model_name: tinydet\n  mAP: 0.5\nexecutor_config: {when: 2022-08-01}\n")
    found = list(YmirFormat().read(folder))
    first, second = images(found)
    assert [(box.class_name, box.score) for box in first.annotations or ()] == [("cat", None)]
    assert [(box.class_name, box.score, box.annotated_by) for box in first.predictions or ()] == [("dog", 0.75, "tinydet")]
    assert (second.annotations, second.predictions) == (None, None)
    facts = {"eval_class_names": ["dog"], "model": {"model_name": "tinydet", "mAP": 0.5}, "executor_config": {"when": "2022-08-01"}}
    assert [item for item in found if isinstance(item, PredictedBy)] == [PredictedBy("tinydet", facts)]


def test_a_prediction_without_a_score_is_named(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("images/1.jpg")
    write("pred/1.xml", xml())
    found, notes = read(folder)
    assert found["images/1.jpg"].predictions == ()
    assert notes == ["pred/1.xml#object 1"]


def test_outlines_come_from_one_coco_file(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for number in (1, 2):
        make_picture(f"images/{number}.jpg")
    ring = [[10, 20, 31, 20, 31, 51]]
    write("gt/coco-annotations.json", coco({"segmentation": ring, "confidence": -1.0}, {"segmentation": {}}, names=("1.jpg", "2.jpg")))
    write("gt/1.xml", xml())
    found = list(YmirFormat().read(folder))
    first, second = images(found)
    assert [box.segmentation for box in first.annotations or ()] == [ring, None]
    assert (second.annotations, second.declared_size) == ((), (100, 80))
    assert [item.names for item in found if isinstance(item, ClassNames)] == [("cat",)]
    assert [skip.place for skip in skips(found)] == ["gt"]


def test_pictures_whose_labels_cannot_be_read_are_left_out(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for number in (1, 2):
        make_picture(f"images/{number}.jpg")
    write("gt/1.xml", "<annotation>")
    found, notes = read(folder)
    assert list(found) == ["images/2.jpg"]
    assert notes == ["gt/1.xml", "images/1.jpg"]
    write("gt/coco-annotations.json", '{"images": [')
    found, _ = read(folder)
    assert found == {}


def test_a_picture_beside_the_folders_is_named(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("images/1.jpg")
    make_picture("other.jpg")
    write("gt/1.xml", xml())
    assert read(folder)[1] == ["other.jpg"]


@pytest.mark.parametrize("index", ["index.tsv", "index.txt", "index.csv"])
def test_an_index_names_the_pictures_wherever_they_are(folder: Path, make_picture: MakePicture, write: Write, index: str) -> None:
    make_picture("store/ab/1.jpg")
    write(index, "store/ab/1.jpg\tmore\n/data/2.jpg\ns3://bucket/a/3.jpg\n\nmissing.jpg\nstore/ab/1.jpg\n")
    write("gt/1.xml", xml())
    write("gt/2.xml", xml("dog"))
    write("pred/3.xml", xml("fox", "<confidence>0.5</confidence>"))
    assert YmirFormat().detect(folder) == f"pictures in {index}"
    found = list(YmirFormat().read(folder))
    first, second, third = images(found)
    assert [image.path for image in (first, second, third)] == [folder / "store/ab/1.jpg", "/data/2.jpg", "s3://bucket/a/3.jpg"]
    assert [[box.class_name for box in image.annotations or ()] for image in (first, second, third)] == [["cat"], ["dog"], []]
    assert [one.class_name for one in third.predictions or ()] == ["fox"]
    assert [skip.place for skip in skips(found)] == [f"{index}:5", f"{index}:6"]


def test_aliases_in_meta_yaml_are_read_as_pyyaml_writes_them(folder: Path, make_picture: MakePicture, write: Write) -> None:
    names = ["cat"]
    make_picture("images/1.jpg")
    write("pred/meta.yaml", yaml.safe_dump({"eval_class_names": names, "model": {"name": "m", "class_names": names}}))
    (model,) = [item for item in YmirFormat().read(folder) if isinstance(item, PredictedBy)]
    assert (model.model, model.facts["model"]["class_names"]) == ("m", ["cat"])


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join(['*' + p] * 10)}]\n" for p, c in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    "meta", [BOMB, "a: &a {x: 1}\nb: {<<: *a}\n", "a: &a [*a]\n", "[" * 3000, "a: !!python/object:os.system {}", "- 1", "\x00"]
)
def test_a_broken_meta_yaml_costs_no_prediction(folder: Path, make_picture: MakePicture, write: Write, meta: str) -> None:
    make_picture("images/1.jpg")
    write("pred/1.xml", xml("dog", "<confidence>0.75</confidence>"))
    write("pred/meta.yaml", meta)
    found, _ = read(folder)
    assert len(found["images/1.jpg"].predictions or ()) == 1


# ------------------------------------------------------------------------------------------------------------- round trips

scored = st.lists(exports.boxes(score=st.floats(0, 1), annotated_by=st.just("tinydet@best")), min_size=1, max_size=3).map(tuple)


@settings(max_examples=40)
@given(
    drawn=st.lists(st.tuples(st.lists(exports.shapes, max_size=3).map(tuple), scored | st.none(), exports.marks), min_size=1, max_size=3)
)
def test_what_is_written_reads_back_equal(drawn: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory) -> None:
    aside = tmp_path_factory.mktemp("samples")
    kept = [tuple(one for one in annotations if not one.segmentation) for annotations, _, _ in drawn]
    written = [
        make_sample(aside, number, annotations=annotations, predictions=p, marks=m)
        for number, (annotations, (_, p, m)) in enumerate(zip(kept, drawn, strict=True))
    ]
    found, warnings, named = round_trip(YmirFormat(), written)
    assert (warnings, skips(found)) == ([], [])
    for sample in named:
        image = by_name(found)[sample.name]
        assert plain(image.annotations) == plain(sample.annotations)
        assert plain(image.predictions) == plain(sample.predictions)
        assert dict(image.marks.tags) == dict(sample.marks.tags)


def test_with_an_outline_ground_truth_is_one_coco_file(tmp_path: Path) -> None:
    drawn = (
        Annotation("dog", 2, 2, 10, 8, segmentation=mask((2, 2, 12, 10)), crowd=True),
        Annotation("cat", 1.5, 2.25, 10, 8, segmentation=[[1.5, 2, 11, 2, 11, 10], [2.0, 3, 4, 3, 4, 5]]),
        Annotation("cat", 1, 2, 3, 4),
    )
    samples = [
        make_sample(tmp_path, 1, annotations=drawn),
        make_sample(tmp_path, 2),
        make_sample(tmp_path, 3, marks=Marks(state="unlabeled")),
    ]
    target = tmp_path / "target"
    target.mkdir()
    assert YmirFormat().write(target, samples, Export("cells", "V001", ("dog", "cat"))) == []
    assert sorted(str(path.relative_to(target)) for path in (target / "gt").iterdir()) == ["gt/coco-annotations.json"]
    found = list(YmirFormat().read(target))
    assert [plain(image.annotations) for image in images(found)] == [list(drawn), [], None]
    assert [item.names for item in found if isinstance(item, ClassNames)] == [("dog", "cat")]


def test_what_is_lost_is_said_and_the_model_is_written(tmp_path: Path) -> None:
    scored = (Annotation("cat", 1, 2, 3, 4, score=0.5, annotated_by="tinydet@best"),)
    sample = make_sample(tmp_path, 1, predictions=scored, split="train", marks=Marks(state="unlabeled", tags={"a": "b"}))
    target = tmp_path / "target"
    target.mkdir()
    warnings = YmirFormat().write(target, [sample], Export("cells", "V001", ("dog", "cat")))
    assert [warning.code for warning in warnings] == ["splits", "marks", "class_order"]
    meta = yaml.safe_load((target / "pred/meta.yaml").read_text())
    assert meta == {"eval_class_names": ["dog", "cat"], "model": {"class_names": ["dog", "cat"], "model_name": "tinydet@best"}}
