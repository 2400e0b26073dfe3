"""Every example of the references (ModelArts' specification 1.7, 3 to 6; YMIR's import and contract) imports without loss."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from contracts.dataset import Annotation, Marks
from contracts.seams import Found, Locate, not_located
from plugins.formats.ark import ArkFormat
from plugins.formats.inference_results import InferenceResultsFormat
from plugins.formats.manifest import ManifestFormat
from plugins.formats.manifest_line import Label, Line, read_line
from plugins.formats.voc import VocFormat
from plugins.formats.ymir import YmirFormat
from tests.conformance.format import images, skips
from tests.plugins.formats.exports import plain

Write = Callable[[str, str | bytes], Path]
MakePicture = Callable[..., Path]

XML_HEAD = """<annotation><folder>test_data</folder><filename>{name}</filename><source><database>Unknown</database></source>
<size><width>500</width><height>400</height><depth>3</depth></size><segmented>0</segmented>{more}"""
XML_OBJECT = "<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated><occluded>0</occluded><difficult>0</difficult>{shape}</object>"
BOX = "<bndbox><xmin>108</xmin><ymin>101</ymin><xmax>251</xmax><ymax>238</ymax></bndbox>"


def voc(*shapes: str, name: str = "file.jpg", more: str = "") -> str:
    return XML_HEAD.format(name=name, more=more) + "".join(XML_OBJECT.format(name="bag", shape=shape) for shape in shapes) + "</annotation>"


def without_loss(found: list[Found]) -> list[Any]:
    assert skips(found) == []
    return images(found)


# ---------------------------------------------------------------------------------- 1.7 output of the hard-example operator


def test_1_7_a_detection_line_with_hard_values_as_text(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("Data/x.jpg", (500, 400))
    write("Data/x.xml", voc(BOX))
    line = """{"source":"/tmp/task/images/x.jpg","hard":"True","hard-reasons":"0","hard-coefficient":"1.0",
      "annotation":[{"annotation-loc":"/tmp/task/annotations/x.xml","type":"modelarts/object_detection",
                     "annotation-format":"PASCAL VOC","annotated-by":"modelarts/hard_example_algo"}]}"""
    write("output.manifest", line.replace("\n", ""))
    (image,) = without_loss(list(ManifestFormat().read(folder)))
    assert image.path == folder / "Data/x.jpg"
    assert image.marks == Marks("to_be_confirmed", hard=True, hard_coefficient=1.0, hard_reasons=(0,))
    assert plain(image.annotations) == [Annotation("bag", 108, 101, 144, 138, annotated_by="modelarts/hard_example_algo")]


def test_1_7_a_classification_line_with_typed_hard_values(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("Data/cat/5.jpg")
    line = """{"source":"obs://bucket/folder/catDog/5.jpg","hard":true,"hard-reasons":"1-20-2-19-21-3","hard-coefficient":1.0,
      "annotation":[{"name":"cat","type":"modelarts/image_classification","confidence":0.599,
                     "annotated-by":"modelarts/hard_example_algo"}]}"""
    write("output.manifest", line.replace("\n", ""))
    (image,) = without_loss(list(ManifestFormat().read(folder)))
    assert image.path == folder / "Data/cat/5.jpg"
    assert image.marks == Marks("to_be_confirmed", hard=True, hard_coefficient=1.0, hard_reasons=(1, 20, 2, 19, 21, 3))
    (label,) = plain(image.annotations) or []
    assert label == Annotation(
        "cat", 0, 0, 0, 0, shape="image", attributes={"confidence": 0.599}, annotated_by="modelarts/hard_example_algo"
    )


# -------------------------------------------------------------------------------------------------- 3 output of predictions


def test_1_6_and_3_results_beside_their_pictures(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for number in (1, 2):
        make_picture(f"images/{number}.jpg", (500, 400))
    boxes = "[[117.56,335.99,270.51,469.01],[18.75,13.11,217.25,108.36]]"
    write(
        "inference_results/1.jpg_result.txt",
        f'{{"detection_classes":["cat","cat"],\n "detection_boxes":{boxes},\n "detection_scores":[0.518,0.469]}}',
    )
    write("inference_results/2.jpg_result.txt", '{"predicted_label":"dog","scores":[["dog","0.589"],["cat","0.411"]]}')
    first, second = without_loss(list(InferenceResultsFormat().read(folder)))
    assert (first.annotations, second.annotations) == (None, None)
    assert plain(first.predictions) == [
        Annotation("cat", 335.99, 117.56, 133.02, 152.95, score=0.518),
        Annotation("cat", 13.11, 18.75, 95.25, 198.5, score=0.469),
    ]
    assert [(label.class_name, label.shape, label.score) for label in second.predictions or ()] == [
        ("dog", "image", 0.589),
        ("cat", "image", 0.411),
    ]


def test_3_the_label_under_its_other_key(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("images/2.jpg")
    write("inference_results/2.jpg_result.txt", '{"predict_label":"dog","scores":[["dog",0.589],["cat",0.411]]}')
    (image,) = without_loss(list(InferenceResultsFormat().read(folder)))
    assert [label.class_name for label in image.predictions or ()] == ["dog", "cat"]


# -------------------------------------------------------------------------------------------------------------- 4 manifest

CLASSIFICATION = {
    "source": "s3://path/to/image1.jpg", "usage": "TRAIN", "hard": "true", "hard-coefficient": 0.8, "id": "0162005993f8065ef47eefb59d1e4970",
    "annotation": [
        {"type": "modelarts/image_classification", "name": "cat", "property": {"color": "white", "kind": "Persian cat"}, "hard": "true",
         "hard-coefficient": 0.8, "annotated-by": "human", "creation-time": "2019-01-23 11:30:30"},
        {"type": "modelarts/image_classification", "name": "animal", "annotated-by": "modelarts/active-learning", "confidence": 0.8,
         "creation-time": "2019-01-23 11:30:30"},
    ],
    "inference-loc": "/path/to/inference-output",
}  # fmt: skip
DETECTION = {
    "source": "s3://path/to/image1.jpg", "usage": "TRAIN", "hard": "true", "hard-coefficient": 0.8,
    "annotation": [{"type": "modelarts/object_detection", "annotation-loc": "s3://path/to/annotation1.xml", "annotation-format": "PASCAL VOC",
                    "annotated-by": "human", "creation-time": "2019-01-23 11:30:30"}],
}  # fmt: skip
SEGMENTATION = {
    "annotation": [{"annotation-format": "PASCAL VOC", "type": "modelarts/image_segmentation",
                    "annotation-loc": "s3://path/to/annotation/image1.xml", "creation-time": "2020-12-16 21:36:27", "annotated-by": "human"}],
    "usage": "train", "source": "s3://path/to/image1.jpg", "id": "16d196c19bf61994d7deccafa435398c", "sample-type": 0,
}  # fmt: skip


def test_4_4_a_line_of_classification(folder: Path, write: Write) -> None:
    write("a.manifest", json.dumps(CLASSIFICATION))
    found = list(ManifestFormat().read(folder))
    (image,) = images(found)
    assert [skip.what for skip in skips(found)] == ["mended"]  # the results at inference-loc are not there; the address is kept
    assert (image.path, image.splits) == ("s3://path/to/image1.jpg", ("train",))
    assert (image.marks.hard, image.marks.hard_coefficient, image.marks.state) == (True, 0.8, "")
    assert dict(image.marks.tags) == {
        "manifest:id": "0162005993f8065ef47eefb59d1e4970",
        "manifest:inference-loc": "/path/to/inference-output",
    }
    time = {"creation-time": "2019-01-23 11:30:30"}
    cat = {"color": "white", "kind": "Persian cat", "hard": True, "hard-coefficient": 0.8, **time}
    assert plain(image.annotations) == [
        Annotation("cat", 0, 0, 0, 0, shape="image", attributes=cat, annotated_by="human"),
        Annotation("animal", 0, 0, 0, 0, shape="image", attributes={"confidence": 0.8, **time}, annotated_by="modelarts/active-learning"),
    ]


def test_4_5_a_line_of_detection(folder: Path, write: Write, tmp_path: Path) -> None:
    write("a.manifest", json.dumps(DETECTION))
    (image,) = without_loss(list(ManifestFormat().read(folder, _locator(tmp_path, "s3://path/to/annotation1.xml", voc(BOX)))))
    assert (image.path, image.splits, image.declared_size) == ("s3://path/to/image1.jpg", ("train",), (500, 400))
    assert (image.marks.hard, image.marks.hard_coefficient) == (True, 0.8)
    time = {"creation-time": "2019-01-23 11:30:30"}
    assert plain(image.annotations) == [Annotation("bag", 108, 101, 144, 138, attributes=time, annotated_by="human")]


def test_4_5_a_line_of_segmentation(folder: Path, write: Write, tmp_path: Path) -> None:
    write("a.manifest", json.dumps(SEGMENTATION))
    address = "s3://path/to/annotation/image1.xml"
    (image,) = without_loss(list(ManifestFormat().read(folder, _locator(tmp_path, address, SEGMENTATION_XML))))
    assert image.splits == ("train",)
    (outline,) = image.annotations or ()
    assert outline.segmentation == [[133.0, 88.0, 229.0, 88.0, 229.0, 173.0, 133.0, 173.0]]
    assert outline.attributes["creation-time"] == "2020-12-16 21:36:27"


def _locator(aside: Path, address: str, content: str) -> Locate:
    """Everything that the example names by an address; what it does not is asked for in vain."""
    file = aside / "located"
    file.write_text(content)
    return lambda wanted: file if wanted == address else not_located(wanted)


OTHER_LINES: list[tuple[dict[str, Any], str]] = [
    ({"source": "content://I like this", "annotation": [{"type": "modelarts/text_classification", "name": "positive"}]}, "text"),
    (
        {"source": "content://Michael Jordan", "annotation": [
            {"type": "modelarts/text_entity", "name": "person", "property": {"@modelarts:start_index": 0, "@modelarts:end_index": 14}}]},
        "text",
    ),
    (
        {"source": "content://A is in B", "annotation": [
            {"type": "modelarts/text_entity", "name": "x", "id": "E1", "property": {"@modelarts:start_index": 0, "@modelarts:end_index": 1}},
            {"type": "modelarts/text_triplet", "name": "in", "id": "R1", "property": {"@modelarts:from": "E1", "@modelarts:to": "E2"}}]},
        "text",
    ),
    ({"source": "s3://b/a.wav", "annotation": [{"type": "modelarts/audio_classification", "name": "dog"}]}, "audio"),
    ({"source": "s3://b/a.wav", "annotation": [{"type": "modelarts/audio_content", "property": {"@modelarts:content": "Today"}}]}, "audio"),
    (
        {"source": "s3://b/a.wav", "annotation": [{"type": "modelarts/audio_segmentation", "property": {
            "@modelarts:start_time": "00:01:10.123", "@modelarts:end_time": "00:01:15.456", "@modelarts:source": "Tom", "@modelarts:content": "Hi"}}]},
        "audio",
    ),
    ({"source": "s3://b/a.mp4", "sample-type": 6}, "video"),
    ({"source": "s3://b/a.csv", "sample-type": 4}, "table"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "kind"), OTHER_LINES)
def test_4_6_lines_of_text_sound_and_video_are_typed_and_left_out_by_name(
    folder: Path, make_picture: MakePicture, write: Write, line: dict[str, Any], kind: str
) -> None:
    read = read_line(json.dumps(line))
    assert (read.kind, read.doubts) == (kind, ())
    assert [label.type for label in read.labels] == [entry["type"].removeprefix("modelarts/") for entry in line.get("annotation", [])]
    assert [dict(label.properties) for label in read.labels] == [entry.get("property", {}) for entry in line.get("annotation", [])]
    make_picture("1.jpg")
    write("a.manifest", json.dumps(line) + '\n{"source": "1.jpg"}\n')
    found = list(ManifestFormat().read(folder))
    assert len(images(found)) == 1
    assert [(skip.place, f"is {kind}" in skip.reason) for skip in skips(found)] == [("a.manifest:1", True)]


def test_4_6_a_labelled_frame_of_a_video_is_a_picture(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("images/v/v_t1.5.jpg", (500, 400))
    write("annotations/images/v/v_t1.5.xml", voc(BOX))
    facts = {"@modelarts:parent_duration": 8.0, "@modelarts:time_in_video": 1.5, "@modelarts:parent_source": "s3://b/v.mp4"}
    label = {"type": "modelarts/object_detection", "annotation-loc": "s3://b/annotations/images/v/v_t1.5.xml", "annotated-by": "human"}
    write("a.manifest", json.dumps({"source": "s3://b/images/v/v_t1.5.jpg", "annotation": [label], "property": facts, "sample-type": 6}))
    (image,) = without_loss(list(ManifestFormat().read(folder)))
    assert [box.class_name for box in image.annotations or ()] == ["bag"]
    assert dict(image.marks.tags) == {
        "@modelarts:parent_duration": "8.0",
        "@modelarts:time_in_video": "1.5",
        "@modelarts:parent_source": "s3://b/v.mp4",
    }


def test_4_2_and_4_3_every_key_is_read() -> None:
    line = read_line(
        json.dumps(CLASSIFICATION | {"hard-reasons": "0-1", "sample-type": 0, "property": {"@modelarts:data_checked": True}, "x": 1})
    )
    assert line == Line(
        "s3://path/to/image1.jpg", "image", "TRAIN", "0162005993f8065ef47eefb59d1e4970", line.labels, "/path/to/inference-output", True, 0.8, (0, 1),
        {"@modelarts:data_checked": True}, {"x": 1},
    )  # fmt: skip
    assert line.labels[0] == Label(
        "image_classification", "cat", "", {"color": "white", "kind": "Persian cat"}, True, 0.8, "human", "2019-01-23 11:30:30"
    )
    assert line.labels[1].confidence == 0.8


# ------------------------------------------------------------------------------------------------------------ 5 Pascal VOC

SHAPES = {
    "point as the table has it": (
        "<point><x>100</x><y>120</y></point>",
        Annotation("bag", 100, 120, 0, 0, shape="point", points=(100.0, 120.0)),
    ),
    "point as the example has it": (
        "<point><x1>100</x1><y1>120</y1></point>",
        Annotation("bag", 100, 120, 0, 0, shape="point", points=(100.0, 120.0)),
    ),
    "line": (
        "<line><x1>100</x1><y1>100</y1><x2>200</x2><y2>180</y2></line>",
        Annotation("bag", 100, 100, 100, 80, shape="line", points=(100.0, 100.0, 200.0, 180.0)),
    ),
    "dashed": (
        "<dashed><x1>100</x1><y1>100</y1><x2>200</x2><y2>180</y2></dashed>",
        Annotation("bag", 100, 100, 100, 80, shape="dashed", points=(100.0, 100.0, 200.0, 180.0)),
    ),
    "polyline": (
        "<polyline><x1>1</x1><y1>1</y1><x2>9</x2><y2>5</y2><x3>4</x3><y3>7</y3></polyline>",
        Annotation("bag", 1, 1, 8, 6, shape="polyline", points=(1.0, 1.0, 9.0, 5.0, 4.0, 7.0)),
    ),
    "bndbox": (BOX, Annotation("bag", 108, 101, 144, 138)),
    "polygon": (
        "<polygon><x1>10</x1><y1>10</y1><x2>50</x2><y2>10</y2><x3>30</x3><y3>40</y3></polygon>",
        Annotation("bag", 10, 10, 40, 30, segmentation=[[10.0, 10.0, 50.0, 10.0, 30.0, 40.0]]),
    ),
    "circle": (
        "<circle><cx>100</cx><cy>120</cy><r>30</r></circle>",
        Annotation("bag", 70, 90, 60, 60, shape="circle", points=(100.0, 120.0, 30.0)),
    ),
}
SEGMENTATION_XML = voc(
    "<confidence>0.9</confidence><hard-coefficient>0.8</hard-coefficient><mask_color>193,243,53</mask_color>"
    "<polygon><x1>133</x1><y1>88</y1><x2>229</x2><y2>88</y2><x3>229</x3><y3>173</y3><x4>133</x4><y4>173</y4><x5>133</x5><y5>88</y5></polygon>",
    more="<mask_source>obs://b/annotation/V001/segmentationClassRaw/image1.png</mask_source>",
)


@pytest.mark.parametrize("shape", SHAPES)
def test_5_every_shape(folder: Path, make_picture: MakePicture, write: Write, shape: str) -> None:
    xml, expected = SHAPES[shape]
    make_picture("file.jpg", (500, 400))
    write("file.xml", voc(xml))
    (image,) = without_loss(list(VocFormat().read(folder)))
    assert plain(image.annotations) == [expected]
    assert image.declared_size == (500, 400)


def test_5_a_segmentation_is_one_polygon_and_one_mask(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("image1.jpg", (500, 400))
    write("image1.xml", SEGMENTATION_XML)
    (image,) = without_loss(list(VocFormat().read(folder)))
    (outline,) = image.annotations or ()
    assert (outline.x, outline.y, outline.width, outline.height) == (133, 88, 96, 85)
    assert outline.segmentation == [[133.0, 88.0, 229.0, 88.0, 229.0, 173.0, 133.0, 173.0]]
    assert outline.attributes == {"confidence": 0.9, "hard-coefficient": 0.8, "mask_color": "193,243,53"}
    assert image.marks.tags == {"mask_source": "obs://b/annotation/V001/segmentationClassRaw/image1.png"}


def test_5_an_object_that_only_a_mask_draws(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("image1.jpg", (60, 40))
    mask = Image.new("RGB", (60, 40))
    mask.paste((193, 243, 53), (10, 5, 30, 25))
    (folder / "segmentationClassRaw").mkdir()
    mask.save(folder / "segmentationClassRaw" / "image1.png")
    source = "<mask_source>obs://b/annotation/V001/segmentationClassRaw/image1.png</mask_source>"
    write("image1.xml", voc("<mask_color>193,243,53</mask_color>", more=source))
    (image,) = without_loss(list(VocFormat().read(folder)))
    (outline,) = image.annotations or ()
    assert (outline.x, outline.y, outline.width, outline.height) == (10, 5, 20, 20)
    assert isinstance(outline.segmentation, dict)
    assert outline.segmentation["size"] == [40, 60]


def test_5_two_ymin_and_no_ymax_is_no_box(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("file.jpg", (500, 400))
    write("file.xml", voc("<bndbox><xmin>108</xmin><ymin>101</ymin><xmax>251</xmax><ymin>238</ymin></bndbox>", BOX))
    found = list(VocFormat().read(folder))
    assert len(images(found)[0].annotations or ()) == 1
    assert [(skip.place, skip.reason) for skip in skips(found)] == [("file.xml#object 1", "bag: there are 2 ymin")]


# ------------------------------------------------------------------------------------------------------------ 6 directories


def test_6_1_detection_has_its_files_side_by_side(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for name in ("1.jpg", "deep/2.png", "3.bmp"):
        make_picture(name, (500, 400))
    write("1.xml", voc(BOX, name="1.jpg"))
    write("deep/2.xml", voc(BOX, BOX.replace("108", "8"), name="2.png"))
    assert {image.name: image.annotations and len(image.annotations) for image in without_loss(list(VocFormat().read(folder)))} == {
        "1.jpg": 1,
        "deep/2.png": 2,
        "3.bmp": None,
    }


def test_6_1_segmentation_has_its_masks_below(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("1.jpg", (500, 400))
    write("1.xml", SEGMENTATION_XML)
    mask = Image.new("RGB", (500, 400))
    mask.paste((193, 243, 53), (133, 88, 229, 173))
    (folder / "segmentationClassRaw").mkdir()
    mask.save(folder / "segmentationClassRaw" / "image1.png")
    (image,) = without_loss(list(VocFormat().read(folder)))
    assert len(image.annotations or ()) == 1


# -------------------------------------------------------------------------------------------------------------------- YMIR


def test_ymir_4_7_the_row_of_ark_text(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("assets/1f/3c1f.jpg", (500, 400))
    write("annotations/1f/3c1f.txt", "0, 242, 61, 424, 249, -1.0, 0.0\n")
    write("train-index.tsv", "/in/assets/1f/3c1f.jpg\t/in/annotations/1f/3c1f.txt\n")
    write("class_names.txt", "person\n")
    (image,) = without_loss(list(ArkFormat().read(folder)))
    assert plain(image.annotations) == [Annotation("person", 242, 61, 183, 189)]
    assert image.splits == ("train",)


def test_ymir_4_8_the_tree_of_voc(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("images/3c1f.jpg", (500, 400))
    write(
        "gt/3c1f.xml",
        "<annotation><folder>folder</folder><filename>/in/assets/1f/3c1f.jpg</filename><source><annotation>unknown</annotation>"
        "<image>unknown</image></source><size><width>500</width><height>400</height><depth>3</depth></size><segmented>0</segmented>"
        "<cks><weather>sunny</weather><camera>7</camera></cks><image_quality>0.8500</image_quality><object><name>person</name><pose>unknown</pose>"
        "<truncated>unknown</truncated><occluded>0</occluded><bndbox><xmin>242</xmin><ymin>61</ymin><xmax>424</xmax><ymax>249</ymax>"
        "<rotate_angle>0.5000</rotate_angle></bndbox><difficult>0</difficult><tags><color>red</color></tags><box_quality>0.9000</box_quality>"
        "<cm>TP</cm><confidence>0.7500</confidence></object></annotation>",
    )
    (image,) = without_loss(list(YmirFormat().read(folder)))
    attributes = {"color": "red", "cm": "TP", "confidence": 0.75}
    assert plain(image.annotations) == [Annotation("person", 242, 61, 183, 189, quality=0.9, angle=0.5, attributes=attributes)]
    assert dict(image.marks.tags) == {"weather": "sunny", "camera": "7", "image_quality": "0.8500"}


def test_ymir_4_9_the_coco_file(folder: Path, make_picture: MakePicture, write: Write) -> None:
    make_picture("images/3c1f.jpg", (500, 400))
    picture = {
        "id": 1,
        "file_name": "3c1f.jpg",
        "width": 500,
        "height": 400,
        "date_captured": "",
        "license": 1,
        "coco_url": "",
        "flickr_url": "",
    }
    common = {"image_id": 1, "category_id": 0, "iscrowd": 0, "bbox": [10, 20, 30, 40], "confidence": -1.0, "area": 1200}
    annotations = [
        {"id": 1, **common, "segmentation": {}},
        {"id": 2, **common, "segmentation": [[10, 20, 40, 20, 40, 60]]},
        {"id": 3, **common, "segmentation": {"counts": "09W10000000`h2", "size": [48, 64]}},
    ]
    document = {
        "images": [picture],
        "licenses": [{"id": 1, "name": "", "url": ""}],
        "categories": [{"id": 0, "name": "person", "supercategory": "object"}],
        "annotations": annotations,
    }
    write("gt/coco-annotations.json", json.dumps(document))
    (image,) = without_loss(list(YmirFormat().read(folder)))
    box, polygon, mask = image.annotations or ()
    assert (box.x, box.y, box.width, box.height, box.segmentation) == (10, 20, 30, 40, None)
    assert polygon.segmentation == [[10, 20, 40, 20, 40, 60]]
    assert mask.segmentation == {"counts": "09W10000000`h2", "size": [48, 64]}


def test_ymir_the_layout_of_an_import(folder: Path, make_picture: MakePicture, write: Write) -> None:
    for number in (1, 2):
        make_picture(f"dataset/images/{number}.jpg", (500, 400))
    write("dataset/gt/1.xml", voc(BOX))
    write("dataset/pred/1.xml", voc(f"{BOX}<confidence>0.9</confidence>"))
    write(
        "dataset/pred/meta.yaml",
        "eval_class_names: [bag]\nexecutor_config: {gpu_count: 1}\nmodel:\n  mAP: 0.7\n  class_names: [bag]\n  model_hash: abc@best\n",
    )
    first, second = without_loss(list(YmirFormat().read(folder)))
    assert plain(first.annotations) == [Annotation("bag", 108, 101, 144, 138)]
    assert plain(first.predictions) == [Annotation("bag", 108, 101, 144, 138, score=0.9, annotated_by="abc@best")]
    assert (second.annotations, second.predictions) == (None, None)
