"""ModelArts manifests: every key read, every bad line named, and written as published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.dataset import Annotation, Marks, Sample
from contracts.seams import Export, ImportedImage
from plugins.formats.manifest import Limits, ManifestFormat
from plugins.formats.manifest_line import read_line
from plugins.formats.manifest_tags import tag_text, tag_value
from plugins.formats.values import BadValueError
from plugins.formats.voc_strict import check_strict
from tests.conformance.format import FormatConformance, images, skips
from tests.plugins.formats import exports
from tests.plugins.formats.exports import by_name, make_sample, mask, plain, round_trip

Write = Callable[[str, str | bytes], Path]
MakePicture = Callable[..., Path]
XML = """<annotation><folder>NA</folder><filename>1.jpg</filename><size><width>100</width><height>80</height><depth>3</depth></size>
<segmented>0</segmented><object><name>cat</name><pose>Unspecified</pose><truncated>0</truncated><occluded>0</occluded><difficult>0</difficult>
<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>30</xmax><ymax>50</ymax></bndbox></object></annotation>"""


def lines(*entries: dict[str, Any]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def detection(source: str, location: str, **others: Any) -> dict[str, Any]:
    return {"source": source, "annotation": [{"type": "modelarts/object_detection", "annotation-loc": location}], **others}


def classification(source: str, *names: str, **others: Any) -> dict[str, Any]:
    return {"source": source, "annotation": [{"type": "modelarts/image_classification", "name": name} for name in names], **others}


class TestManifestFormat(FormatConformance):
    @pytest.fixture
    def format_(self) -> ManifestFormat:
        return ManifestFormat()

    @pytest.fixture
    def folder(self, folder: Path, make_picture: MakePicture, write: Write) -> Path:
        for number in (1, 2, 3):
            make_picture(f"images/{number}.jpg")
        write("annotation/V001/annotation/1.xml", XML)
        entries = (
            detection("s3://bucket/images/1.jpg", "s3://bucket/annotation/V001/annotation/1.xml", usage="TRAIN"),
            classification("images/2.jpg", "Cat", "animal", hard="True", **{"hard-coefficient": "0.5", "hard-reasons": "1-20"}),
            {"source": "/data/images/3.jpg", "sample-type": 0},
        )
        write("annotation/V001/V001.manifest", lines(*entries))
        return folder


def read(folder: Path, **options: Any) -> tuple[list[ImportedImage], list[tuple[str, str]]]:
    found = list(ManifestFormat(**options).read(folder))
    return images(found), [(skip.place, skip.reason) for skip in skips(found)]


def test_several_labels_of_one_picture_are_all_there(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("1.jpg")
    write("a.manifest", lines(classification("1.jpg", "Cat", "animal")))
    (image,), notes = read(folder)
    assert [(label.class_name, label.shape, label.annotated_by) for label in image.annotations or ()] == [
        ("cat", "image", "human"),
        ("animal", "image", "human"),
    ]
    assert notes == []


@pytest.mark.parametrize(
    ("usage", "splits"),
    [("TRAIN", ("train",)), ("train", ("train",)), ("Eval", ("val",)), ("TEST", ("test",)), ("INFERENCE", ("pool",)), ("", ()), (None, ())],
)
def test_the_usage_is_the_split_in_any_case(
    folder: Path, make_picture: MakePicture, write: Write, usage: str | None, splits: tuple[str, ...]
) -> None:
    make_picture("1.jpg")
    write("a.manifest", lines({"source": "1.jpg", "usage": usage}))
    (image,), _ = read(folder)
    assert (image.splits, image.annotations) == (splits, None)


def test_one_manifest_may_mix_schemes_and_addresses_go_to_the_importer(folder: Path, make_picture: MakePicture, write: Write) -> None:
    here = make_picture("pictures/1.jpg")
    sources = ["s3://bucket/a/2.jpg", "obs://bucket/a/3.jpg", "/data/4.jpg", "pictures/1.jpg", "content://some text"]
    write("a.manifest", lines(*({"source": source} for source in sources)))
    found, notes = read(folder)
    assert [image.path for image in found] == [*sources[:3], here]
    assert notes == [("a.manifest:5", "source: is text (no label); only pictures are imported")]


def test_a_label_file_elsewhere_is_located(folder: Path, make_picture: MakePicture, write: Write, tmp_path: Path) -> None:
    make_picture("1.jpg")
    label = tmp_path / "elsewhere.xml"
    label.write_text(XML)
    write("a.manifest", lines(detection("1.jpg", "s3://bucket/labels/1.xml")))
    asked: list[str] = []
    (image,) = images(ManifestFormat().read(folder, lambda address: asked.append(address) or label))
    assert asked == ["s3://bucket/labels/1.xml"]
    assert [box.class_name for box in image.annotations or ()] == ["cat"]
    assert image.declared_size == (100, 80)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ('{"usage": "TRAIN"}', "source: is missing"),
        ('{"source": "1.jpg", "annotation": {}}', "annotation: is not a list"),
        ('{"source": "1.jpg", "annotation": [{}]}', "annotation[0].type: is missing"),
        ('{"source": "1.jpg", "annotation": [{"type": "modelarts/smell"}]}', "annotation[0].type: 'smell' is not known"),
        ('{"source": "1.jpg", "annotation": [{"type": "modelarts/image_classification"}]}', "annotation[0].name: is missing"),
        ('{"source": "1.jpg", "annotation": [{"type": "modelarts/object_detection"}]}', "annotation[0].annotation-loc: is missing"),
        (json.dumps(detection("1.jpg", "no.xml")), "annotation[0].annotation-loc: no.xml is not there"),
        (json.dumps(detection("1.jpg", "bad.xml")), "annotation[0].annotation-loc: bad.xml is not readable XML"),
        ('{"source": "missing.jpg"}', "source: there is no picture missing.jpg"),
        ('{"source": "1.jpg", "x": NaN}', "NaN is no number of JSON"),
        ('{"source": "1.jpg", "x": 1e999}', "too large"),
        ('{"source": "1.jpg", "x": "\\ud800"}', "is not JSON"),
        ('{"source": "1.jpg", "x": ' + "[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_bad_line_is_named_with_its_number_and_key_and_the_others_are_read(
    folder: Path, make_picture: MakePicture, write: Write, line: str, reason: str
) -> None:
    make_picture("1.jpg")
    make_picture("2.jpg")
    write("bad.xml", "<annotation>")
    write("a.manifest", f'{{"source": "2.jpg"}}\n\n{line}\n')
    found, notes = read(folder)
    assert [image.name for image in found] == ["2.jpg"]
    assert notes[0][0] == "a.manifest:3"
    assert reason in notes[0][1]


def test_odd_values_are_named_and_the_line_is_kept(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("1.jpg")
    odd = {"hard": "maybe", "hard-coefficient": 1.5, "usage": "LUNCH", "sample-type": 77}
    write("a.manifest", lines({"source": "1.jpg", **odd}))
    found, notes = read(folder)
    assert (found[0].marks, found[0].splits) == (Marks(), ())
    assert [reason.partition(":")[0] for _, reason in notes] == ["usage", "hard", "hard-coefficient"]
    assert {place for place, _ in notes} == {"a.manifest:1"}


@pytest.mark.parametrize(("limits", "named"), [({"manifest_bytes": 10}, "10"), ({"label_bytes": 20}, "20"), ({"picture_bytes": 30}, "30")])
def test_what_is_larger_than_a_limit_is_refused_with_the_limit(
    folder: Path, make_picture: MakePicture, write: Write, limits: dict[str, int], named: str
) -> None:
    make_picture("1.jpg")
    write("1.xml", XML)
    write("a.manifest", lines(detection("1.jpg", "1.xml")))
    found, notes = read(folder, limits=Limits(**limits))
    assert found == []
    assert f"larger than the limit of {named} bytes" in notes[0][1]


def test_labels_that_only_a_machine_made_are_to_be_confirmed(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for number in (1, 2):
        make_picture(f"{number}.jpg")
    entries = [classification(f"{number}.jpg", "cat", "dog") for number in (1, 2)]
    for entry, makers in zip(entries, (("modelarts/active-learning",) * 2, ("human", "modelarts/active-learning")), strict=True):
        for label, maker in zip(entry["annotation"], makers, strict=True):
            label["annotated-by"] = maker
    write("a.manifest", lines(*entries))
    found, _ = read(folder)
    assert [image.marks.state for image in found] == ["to_be_confirmed", ""]


def test_two_sources_of_one_name_are_not_taken_for_one_picture(folder: Path, make_picture: MakePicture, write: Write) -> None:
    here = make_picture("1.jpg")
    write("a.manifest", lines({"source": "s3://b/x/1.jpg"}, {"source": "s3://b/y/1.jpg"}))
    found, _ = read(folder)
    assert [image.path for image in found] == [here, "s3://b/y/1.jpg"]


def test_of_several_versions_the_last_is_read_and_the_others_are_named(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("1.jpg")
    for version in ("V002", "V010", "V009"):
        write(f"annotation/{version}/{version}.manifest", lines(classification("1.jpg", version)))
    found, notes = read(folder)
    assert [label.class_name for label in found[0].annotations or ()] == ["v010"]
    assert [place for place, _ in notes] == [f"annotation/{version}/{version}.manifest" for version in ("V002", "V009")]


def test_results_at_inference_loc_are_predictions(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("1.jpg")
    write("results/1.jpg_result.txt", '{"predicted_label":"dog","scores":[["dog","0.589"]]}')
    write("a.manifest", lines({"source": "1.jpg", "inference-loc": "s3://bucket/results/1.jpg_result.txt"}))
    (image,), notes = read(folder)
    assert [(one.class_name, one.score) for one in image.predictions or ()] == [("dog", 0.589)]
    assert notes == []


# ------------------------------------------------------------------------------------------------------------- round trips

samples = st.builds(
    lambda drawn, labels, marks, split: (tuple(drawn) + tuple(labels), marks, split),
    st.lists(exports.shapes, max_size=3),
    st.lists(exports.image_labels, max_size=2),
    exports.marks,
    st.sampled_from(["", "train", "val", "test", "pool"]),
)


@settings(max_examples=40)
@given(drawn=st.lists(samples, min_size=1, max_size=3))
def test_what_is_written_reads_back_equal(drawn: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory) -> None:
    aside = tmp_path_factory.mktemp("samples")
    written = [make_sample(aside, number, annotations=a, marks=m, split=s) for number, (a, m, s) in enumerate(drawn)]
    found, warnings, named = round_trip(ManifestFormat(), written)
    assert (warnings, skips(found)) == ([], [])
    for sample in named:
        _same(by_name(found)[sample.name], sample)


def _same(image: ImportedImage, sample: Sample) -> None:
    labels_first = sorted(sample.annotations, key=lambda one: one.shape != "image")
    assert plain(image.annotations) == plain(labels_first)
    assert image.splits == ((sample.split,) if sample.split else ())
    assert dict(image.marks.tags) == dict(sample.marks.tags)
    fields = ("hard", "hard_coefficient", "hard_reasons")
    assert [getattr(image.marks, name) for name in fields] == [getattr(sample.marks, name) for name in fields]
    if sample.marks.state:
        assert image.marks.state == sample.marks.state


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
json_values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


@given(json_values)
def test_a_value_of_json_survives_being_a_tag(value: Any) -> None:
    assert tag_value(tag_text(value)) == value


def test_the_published_layout_is_that_of_modelarts(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    marked = Marks(hard=True, hard_coefficient=1.0, hard_reasons=(1, 20, 2))
    outlined = Annotation("cat", 2, 2, 10, 8, segmentation=mask((2, 2, 12, 10)), attributes={"hard-coefficient": 0.8, "hard": True})
    written = [
        make_sample(tmp_path, 1, name="a.png", annotations=(outlined,), marks=marked, split="train"),
        make_sample(tmp_path, 2, name="b.png", annotations=(Annotation("cat", 0, 0, 0, 0, shape="image", annotated_by="human"),)),
        make_sample(tmp_path, 3, name="c.png", marks=Marks(state="unlabeled")),
    ]
    assert ManifestFormat().write(target, written, Export("animals", "V002", ("cat",), hard=True)) == []
    base = "animals-19647db2fbfa143081c0/annotation/V002"
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()) == [
        f"{base}/V002.manifest",
        f"{base}/annotation/a.xml",
        f"{base}/segmentationClassRaw/a.png",
        "images/a.png",
        "images/b.png",
        "images/c.png",
    ]
    first, second, third = (json.loads(line) for line in (target / base / "V002.manifest").read_text().splitlines())
    label = {
        "type": "modelarts/image_segmentation",
        "annotation-loc": f"{base}/annotation/a.xml",
        "annotation-format": "PASCAL VOC",
        "annotated-by": "",
    }
    assert first == {
        "source": "images/a.png",
        "sample-type": 0,
        "usage": "TRAIN",
        "hard": True,
        "hard-coefficient": 1.0,
        "hard-reasons": "1-20-2",
        "annotation": [label],
    }
    assert type(first["hard"]) is bool
    assert type(first["hard-coefficient"]) is float
    assert second["annotation"] == [{"type": "modelarts/image_classification", "name": "cat", "annotated-by": "human"}]
    assert "annotation" not in third
    xml = (target / base / "annotation/a.xml").read_text()
    assert check_strict(xml) == []
    assert "<hard-coefficient>0.8</hard-coefficient>" in xml
    assert "<hard-reasons>1-20-2</hard-reasons>" in xml


def test_without_the_switch_neither_manifest_nor_label_files_speak_of_hard_examples(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    said = {"hard": True, "hard-coefficient": 0.8, "hard-reasons": "1"}
    drawn = (Annotation("cat", 2, 2, 10, 8, attributes=said), Annotation("cat", 0, 0, 0, 0, shape="image", attributes=said))
    sample = make_sample(tmp_path, 1, annotations=drawn, marks=Marks(hard=True, hard_coefficient=1.0, hard_reasons=(1,)))
    ManifestFormat().write(target, [sample], Export("animals", "V001", ("cat",)))
    for path in target.rglob("*"):
        assert not path.is_file() or path.suffix == ".png" or "hard" not in path.read_text()


def test_keys_that_nobody_described_survive_a_round_trip(folder: Path, make_picture: MakePicture, write: Write, tmp_path: Path) -> None:
    make_picture("1.jpg")
    line = classification(
        "1.jpg", "cat", source_type="obs", source_map={"a": [1]}, id="0162", property={"@modelarts:data_checked": True, "n": "1"}
    )
    line["annotation"][0] |= {"annotation_property": {"x": None}, "id": "7", "property": {"color": "white", "kind": "Persian cat"}}
    write("a.manifest", lines(line))
    (image,), _ = read(folder)
    sample = make_sample(tmp_path, 1, annotations=image.annotations, marks=image.marks)
    target = tmp_path / "target"
    target.mkdir()
    ManifestFormat().write(target, [sample], Export("animals", "V001", ("cat",)))
    (manifest,) = target.rglob("*.manifest")
    again = json.loads(manifest.read_text())
    assert {key: again[key] for key in line if key not in ("source", "annotation")} == {
        k: v for k, v in line.items() if k not in ("source", "annotation")
    }
    assert again["annotation"] == [{**line["annotation"][0], "annotated-by": "human"}]


def test_a_tag_cannot_take_the_place_of_a_described_key(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, 1, marks=Marks(tags={"manifest:source": "s3://elsewhere", "manifest:annotation": "[]"}))
    target = tmp_path / "target"
    target.mkdir()
    ManifestFormat().write(target, [sample], Export("animals", "V001", ("cat",)))
    (manifest,) = target.rglob("*.manifest")
    assert json.loads(manifest.read_text())["source"] == "images/img_1.png"


def test_a_label_that_is_no_object_is_refused() -> None:
    with pytest.raises(BadValueError, match=r"annotation\[1\]: is not an object"):
        read_line('{"source": "a.jpg", "annotation": [{"type": "image_classification", "name": "x"}, 3]}')


def test_a_mask_is_not_taken_for_the_picture_of_its_name_nor_the_picture_for_its_mask(tmp_path: Path) -> None:
    drawn = (Annotation("cat", 2, 2, 10, 8, segmentation=mask((2, 2, 12, 10))),)
    target = tmp_path / "target"
    target.mkdir()
    ManifestFormat().write(target, [make_sample(tmp_path, 1, annotations=drawn)], Export("animals", "V001", ("cat",)))
    (picture,) = (target / "images").iterdir()
    away = picture.rename(tmp_path / "away.png")
    assert [skip.reason for skip in skips(ManifestFormat().read(target))] == ["source: there is no picture images/img_1.png"]
    away.rename(picture)
    (png,) = target.rglob("segmentationClassRaw/*.png")
    png.unlink()
    found = list(ManifestFormat().read(target))
    assert [(box.x, box.segmentation) for box in images(found)[0].annotations or ()] == [(2, None)]
    assert ["its mask" in skip.reason for skip in skips(found)] == [True]
