"""infer-result.json in both forms (sections 5.4 and 5.5)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from contracts.dataset import Annotation, Asset
from contracts.errors import ResultError, ResultMalformedError, ResultMissingError
from contracts.image import ObjectType
from contracts.results import InferenceResult
from contracts.ymir import collect_inference

A, B = (Asset(letter * 40, "jpg", 8, 6, 1) for letter in "ab")
DETECTION, SEMANTIC = ObjectType.DETECTION, ObjectType.SEMANTIC_SEGMENTATION
BOX = {"box": {"x": 1, "y": 2, "w": 3, "h": 4, "rotate_angle": 0.5}, "class_name": "cat", "score": 0.8}
CAT = Annotation("cat", 1, 2, 3, 4, score=0.8, angle=0.5)


def collect(
    out: Path, document: Any, object_type: ObjectType = DETECTION, class_names: tuple[str, ...] = ("cat", "dog")
) -> InferenceResult:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    (out / "infer-result.json").write_bytes(content)
    return collect_inference(out, [A, B], object_type, class_names)


def codes(result: InferenceResult) -> list[str]:
    return [warning.code for warning in result.warnings]


# -------------------------------------------------------------------------------------------------------------- detection


def detection(**boxes: Any) -> dict[str, Any]:
    return {"detection": {(A if name == "a" else B).file_name: entry for name, entry in boxes.items()}}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good box with one value changed."""
    box: dict[str, Any] = json.loads(json.dumps(BOX))
    inner, _, field = path.rpartition(".")
    target = box[inner] if inner else box
    if value is None:
        del target[field]
    else:
        target[field] = value
    return box


def test_detections_are_read_without_a_tolerance(tmp_path: Path) -> None:
    result = collect(tmp_path, detection(a={"boxes": [BOX]}, b={"boxes": []}))
    assert result.predictions == {A.id: (CAT,), B.id: ()}
    assert result.warnings == ()


ENTRIES: dict[str, tuple[Any, tuple[Annotation, ...], list[str]]] = {
    "older key": ({"annotations": [BOX]}, (CAT,), ["infer_old_key"]),
    "both keys": ({"boxes": [BOX], "annotations": []}, (CAT,), []),
    "empty object": ({}, (), ["infer_empty_entry"]),
    "empty list": ([], (), ["infer_empty_entry"]),
    "null": (None, (), ["infer_empty_entry"]),
    "null boxes": ({"boxes": None}, (), ["infer_empty_entry"]),
    "no angle": ({"boxes": [changed("box.rotate_angle", None)]}, (Annotation("cat", 1, 2, 3, 4, score=0.8),), []),
    "integral floats": ({"boxes": [changed("box.x", 1.0)]}, (CAT,), []),
    "fractions": ({"boxes": [changed("box.x", 1.5)]}, (Annotation("cat", 1.5, 2, 3, 4, score=0.8, angle=0.5),), ["infer_fraction"]),
    "numbers as texts": ({"boxes": [changed("box.x", "1")]}, (CAT,), ["infer_number_as_text"]),
    "zeros left out": (
        {"boxes": [changed("box.x", None)]},
        (Annotation("cat", 0, 2, 3, 4, score=0.8, angle=0.5),),
        ["infer_box_field_missing"],
    ),
    "unknown box fields": ({"boxes": [changed("box.area", 12)]}, (CAT,), ["infer_box_field_unknown"]),
    "class in other letters": ({"boxes": [changed("class_name", " CAT ")]}, (CAT,), []),
    "unknown class": ({"boxes": [changed("class_name", "cow"), BOX]}, (CAT,), ["infer_unknown_class"]),
    "no score": ({"boxes": [changed("score", None), BOX]}, (CAT,), ["infer_score_missing"]),
    "score above 1": ({"boxes": [changed("score", 80)]}, (Annotation("cat", 1, 2, 3, 4, score=1.0, angle=0.5),), ["infer_score_range"]),
    "no width": ({"boxes": [changed("box.w", 0), BOX]}, (CAT,), ["infer_box_without_area"]),
    "negative height": ({"boxes": [changed("box.h", -4), BOX]}, (CAT,), ["infer_box_without_area"]),
    "nan": ({"boxes": [changed("box.x", float("nan")), BOX]}, (CAT,), ["infer_box_unusable"]),
    "infinity": ({"boxes": [changed("box.w", float("inf")), BOX]}, (CAT,), ["infer_box_unusable"]),
    "nan score": ({"boxes": [changed("score", float("nan")), BOX]}, (CAT,), ["infer_score_missing"]),
    "huge": ({"boxes": [changed("box.x", 10**400), changed("box.y", 1e300), BOX]}, (CAT,), ["infer_box_unusable"]),
    "unknown keys": ({"boxes": [changed("mask", []), BOX], "time": 3}, (CAT, CAT), []),
}


@pytest.mark.parametrize(("entry", "found", "tolerated"), ENTRIES.values(), ids=ENTRIES)
def test_every_known_variant_of_an_entry_is_read(entry: Any, found: tuple[Annotation, ...], tolerated: list[str], tmp_path: Path) -> None:
    result = collect(tmp_path, detection(a=entry))
    assert result.predictions == {A.id: found}
    assert codes(result) == tolerated


@pytest.mark.parametrize(
    ("image", "tolerated"),
    [(f"/in/assets/aa/{A.file_name}", []), (A.file_name, []), (A.id, ["infer_image_matched"]), (f"x/{A.id}.png", ["infer_image_matched"])],
)
def test_an_image_is_known_by_its_base_name(image: str, tolerated: list[str], tmp_path: Path) -> None:
    result = collect(tmp_path, {"detection": {image: {"boxes": [BOX]}}})
    assert (result.predictions, codes(result)) == ({A.id: (CAT,)}, tolerated)


def test_images_that_are_no_candidates_or_stand_twice_are_reported(tmp_path: Path) -> None:
    result = collect(
        tmp_path, {"detection": {"other.jpg": {"boxes": [BOX]}, A.file_name: {"boxes": []}, f"x/{A.file_name}": {"boxes": [BOX]}}}
    )
    assert result.predictions == {A.id: (CAT,)}
    assert codes(result) == ["infer_unknown_image", "infer_image_twice"]


def test_a_key_that_stands_twice_is_reported(tmp_path: Path) -> None:
    entry = json.dumps({"boxes": [BOX]})
    result = collect(tmp_path, f'{{"detection": {{"{A.file_name}": {{}}, "{A.file_name}": {entry}}}}}'.encode())
    assert (result.predictions, codes(result)) == ({A.id: (CAT,)}, ["infer_duplicate_key"])


def test_boxes_are_neither_sorted_nor_cut_off(tmp_path: Path) -> None:
    boxes = [changed("score", i / 100) for i in range(1, 100)]
    found = collect(tmp_path, detection(a={"boxes": boxes})).predictions[A.id]
    assert [box.score for box in found] == [i / 100 for i in range(1, 100)]


def test_warnings_count_what_they_dropped(tmp_path: Path) -> None:
    result = collect(tmp_path, detection(a={"boxes": [changed("class_name", "cow")] * 70 + [changed("class_name", "pig")]}))
    assert result.warnings[0].message == "boxes of classes that the job does not have were dropped (71 times): cow, pig"


WRONG: dict[str, tuple[Any, str]] = {
    "a list": ([], "a list"),
    "null": (None, "null"),
    "a number": (5, "a number"),
    "no detection": ({}, "no 'detection'"),
    "classification": ({"classification": {}}, "classification"),
    "detection is a list": ({"detection": []}, "detection is a list"),
    "detection is null": ({"detection": None}, "missing or null"),
    "an entry is a text": (detection(a="boxes"), f"detection['{A.file_name}']"),
    "a list of boxes": (detection(a=[BOX]), f"detection['{A.file_name}']"),
    "boxes are an object": (detection(a={"boxes": {}}), "boxes are an object"),
    "a box is a list": (detection(a={"boxes": [BOX, [1, 2, 3, 4]]}), "[1] is a list"),
    "box missing": (detection(a={"boxes": [changed("box", None)]}), "[0].box"),
    "box is a list": (detection(a={"boxes": [changed("box", [1, 2, 3, 4])]}), "[0].box is a list"),
    "x is a word": (detection(a={"boxes": [changed("box.x", "left")]}), "[0].box.x is a text"),
    "x is true": (detection(a={"boxes": [changed("box.x", True)]}), "[0].box.x is a boolean"),
    "no class": (detection(a={"boxes": [changed("class_name", None)]}), "[0].class_name"),
    "class is a number": (detection(a={"boxes": [changed("class_name", 3)]}), "[0].class_name is a number"),
}


@pytest.mark.parametrize(("document", "place"), WRONG.values(), ids=WRONG)
def test_a_wrong_type_is_malformed_and_the_place_is_named(document: Any, place: str, tmp_path: Path) -> None:
    with pytest.raises(ResultMalformedError) as raised:
        collect(tmp_path, document)
    assert "/out/infer-result.json" in raised.value.message
    assert place in raised.value.message


# -------------------------------------------------------------------------------------------------------------- COCO form


def coco(*objects: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    images = [{"id": i, "file_name": asset.file_name, "width": 8, "height": 6} for i, asset in enumerate((A, B))]
    categories = [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}]
    return {"images": images, "categories": categories, "annotations": list(objects), **changes}


def instance(**changes: Any) -> dict[str, Any]:
    found = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 1, 2, 2], "area": 4, "iscrowd": 0, "confidence": 0.5} | changes
    return {name: value for name, value in found.items() if value is not ...}


def test_coco_objects_are_read_without_a_tolerance(tmp_path: Path) -> None:
    result = collect(tmp_path, coco(instance(), instance(category_id=5, confidence=-1, iscrowd=1)), SEMANTIC)
    assert result.predictions == {A.id: (Annotation("cat", 1, 1, 2, 2, score=0.5), Annotation("dog", 1, 1, 2, 2, crowd=True)), B.id: ()}
    assert result.warnings == ()


RUNS = [7, 2, 4, 2, 33]  # a square of 2x2 at (1, 1) in a picture of 8x6
RLE = coco_mask.frPyObjects({"counts": RUNS, "size": [6, 8]}, 6, 8)["counts"].decode()
MASK = {"counts": RLE, "size": [6, 8]}
RING = [1, 1, 3, 1, 3, 3, 1, 3]

SEGMENTATIONS: dict[str, tuple[Any, Any, list[str]]] = {
    "mask": (MASK, MASK, []),
    "size swapped": ({"counts": RLE, "size": [8, 6]}, MASK, ["infer_mask_size"]),
    "no size": ({"counts": RLE}, MASK, ["infer_mask_size"]),
    "list of runs": ({"counts": RUNS, "size": [6, 8]}, MASK, ["infer_mask_uncompressed"]),
    "mask of another size": ({"counts": [100], "size": [10, 10]}, None, ["infer_mask_does_not_fit"]),
    "mask of nonsense": ({"counts": "é!", "size": [6, 8]}, None, ["infer_mask_does_not_fit"]),
    "mask cut off": ({"counts": RLE[:-1], "size": [6, 8]}, None, ["infer_mask_does_not_fit"]),
    "huge run": ({"counts": [10**30], "size": [6, 8]}, None, ["infer_mask_does_not_fit"]),
    "negative runs": ({"counts": [50, -2], "size": [6, 8]}, None, ["infer_mask_does_not_fit"]),
    "runs of words": ({"counts": ["a"], "size": [6, 8]}, None, ["infer_mask_does_not_fit"]),
    "mask without counts": ({"size": [6, 8]}, None, ["infer_mask_does_not_fit"]),
    "empty object": ({}, None, []),
    "absent": (..., None, []),
    "null": (None, None, []),
    "one polygon": ([RING], [RING], []),
    "several polygons": ([RING, RING], [RING, RING], ["infer_polygons"]),
    "empty list": ([], None, ["infer_polygon_empty"]),
    "empty polygon": ([[]], None, ["infer_polygon_unreadable"]),
    "flat polygon": (RING, [RING], ["infer_polygon_flat"]),
    "odd polygon": ([RING[:7]], None, ["infer_polygon_unreadable"]),
    "polygon of words": ([["a"] * 6], None, ["infer_polygon_unreadable"]),
    "nan polygon": ([[float("nan")] * 6], None, ["infer_polygon_unreadable"]),
    "a text": ("mask", None, ["infer_segmentation_unreadable"]),
}


@pytest.mark.parametrize(("given_", "expected", "tolerated"), SEGMENTATIONS.values(), ids=SEGMENTATIONS)
def test_every_known_segmentation_is_read(given_: Any, expected: Any, tolerated: list[str], tmp_path: Path) -> None:
    result = collect(tmp_path, coco(instance(segmentation=given_)), SEMANTIC)
    assert result.predictions[A.id][0].segmentation == expected
    assert codes(result) == tolerated


OBJECTS: dict[str, tuple[dict[str, Any], int, list[str]]] = {
    "no area": (instance(area=...), 1, ["infer_area_missing"]),
    "no iscrowd": (instance(iscrowd=...), 1, []),
    "no confidence": (instance(confidence=...), 1, []),
    "score": (instance(confidence=..., score=0.5), 1, ["infer_score_name"]),
    "confidence of a word": (instance(confidence="high"), 1, ["infer_confidence"]),
    "confidence of 80": (instance(confidence=80), 1, ["infer_score_range"]),
    "prompt": (instance(meta={"prompt": "a cat"}), 1, []),
    "fractions": (instance(bbox=[0.5, 0.5, 1.5, 1.5]), 1, []),
    "no bbox": (instance(bbox=...), 0, ["infer_object_without_box"]),
    "bbox of three": (instance(bbox=[1, 2, 3]), 0, ["infer_object_without_box"]),
    "bbox of words": (instance(bbox=["a", 1, 2, 3]), 0, ["infer_object_without_box"]),
    "bbox of nan": (instance(bbox=[float("nan"), 1, 2, 3]), 0, ["infer_object_without_box"]),
    "zero size": (instance(bbox=[1, 1, 0, 2]), 0, ["infer_box_without_area"]),
    "unknown image": (instance(image_id=9), 0, ["infer_object_of_unknown_images"]),
    "image of a list": (instance(image_id=[0]), 0, ["infer_object_of_unknown_images"]),
    "unknown category": (instance(category_id=9), 0, ["infer_object_of_unknown_classes"]),
}


@pytest.mark.parametrize(("entry", "count", "tolerated"), OBJECTS.values(), ids=OBJECTS)
def test_every_known_object_is_read_or_dropped(entry: dict[str, Any], count: int, tolerated: list[str], tmp_path: Path) -> None:
    result = collect(tmp_path, coco(entry), SEMANTIC)
    assert len(result.predictions[A.id]) == count
    assert codes(result) == tolerated


def test_exact_duplicates_are_dropped(tmp_path: Path) -> None:
    result = collect(tmp_path, coco(instance(), instance(id=2), instance(id=3, category_id=5)), SEMANTIC)
    assert (len(result.predictions[A.id]), codes(result)) == (2, ["infer_object_twice"])


def test_images_and_categories_that_share_an_id_are_all_dropped(tmp_path: Path) -> None:
    images = [{"id": 0, "file_name": A.file_name}, {"id": 0, "file_name": B.file_name}, {"id": 1, "file_name": B.file_name}]
    result = collect(tmp_path, coco(instance(), instance(image_id=1), images=images), SEMANTIC)
    assert result.predictions == {B.id: (Annotation("cat", 1, 1, 2, 2, score=0.5),)}
    assert codes(result) == ["infer_images_same_id", "infer_object_of_unknown_images"]


def test_categories_are_matched_by_name_whatever_their_ids(tmp_path: Path) -> None:
    categories = [{"id": 0, "name": " DOG "}, {"id": "x", "name": "cow"}]
    result = collect(tmp_path, coco(instance(category_id=0), instance(category_id="x"), categories=categories), SEMANTIC)
    assert [box.class_name for box in result.predictions[A.id]] == ["dog"]
    assert codes(result) == ["infer_object_of_unknown_classes"]


def test_without_class_names_every_class_is_kept(tmp_path: Path) -> None:
    result = collect(tmp_path, coco(instance(category_id=5)), ObjectType.MULTI_MODAL, ())
    assert result.predictions[A.id][0].class_name == "dog"


def test_folders_in_file_names_are_ignored(tmp_path: Path) -> None:
    images = [{"id": 0, "file_name": f"/in/assets/aa/{A.file_name}"}, {"id": 1, "file_name": "other.jpg"}]
    result = collect(tmp_path, coco(instance(), images=images), SEMANTIC)
    assert (list(result.predictions), codes(result)) == ([A.id], ["infer_unknown_image"])


def test_nothing_found_needs_no_categories(tmp_path: Path) -> None:
    assert collect(tmp_path, {"images": [], "annotations": []}, SEMANTIC).predictions == {}


def test_the_name_of_early_2023_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "coco-infer-result.json").write_text(json.dumps(coco(instance())))
    result = collect_inference(tmp_path, [A, B], SEMANTIC, ("cat",))
    assert (len(result.predictions[A.id]), codes(result)) == (1, ["infer_old_name"])


def test_a_file_in_the_other_form_is_read_as_what_it_is(tmp_path: Path) -> None:
    as_coco = collect(tmp_path, coco(instance()), DETECTION)
    as_detection = collect(tmp_path, detection(a={"boxes": [BOX]}), SEMANTIC)
    assert (len(as_coco.predictions[A.id]), codes(as_coco)) == (1, ["infer_other_form"])
    assert (as_detection.predictions, codes(as_detection)) == ({A.id: (CAT,)}, ["infer_other_form"])


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"images": {}}, "images"),
        ({"images": [5]}, "images[0]"),
        ({"images": [{"id": [], "file_name": "x"}]}, "images[0].id"),
        ({"images": [{"id": 1, "file_name": 5}]}, "images[0].file_name"),
        ({"categories": None}, "categories"),
        ({"categories": [{"id": 1}]}, "categories[0].name"),
        ({"annotations": "none"}, "annotations"),
        ({"annotations": [[]]}, "annotations[0]"),
    ],
)
def test_a_wrong_type_in_the_coco_form_is_malformed_and_the_place_is_named(changes: dict[str, Any], place: str, tmp_path: Path) -> None:
    with pytest.raises(ResultMalformedError) as raised:
        collect(tmp_path, coco(instance()) | changes, SEMANTIC)
    assert place in raised.value.message


# ---------------------------------------------------------------------------------------------------------------- hostile


@pytest.mark.parametrize("object_type", [DETECTION, SEMANTIC])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"detection": ' * 50_000,
        bytes(range(256)),
        b"9" * 100_000,
        b'{"a": 1e999, "b": NaN}',
        b"{}",
        b'{"detection":' + b"9" * 9999 + b"}",
    ],
    ids=range(9),
)
def test_hostile_json_is_malformed(content: bytes, object_type: ObjectType, tmp_path: Path) -> None:
    with pytest.raises(ResultMalformedError):
        collect(tmp_path, content, object_type)


def test_bytes_that_are_not_utf8_are_replaced_with_a_warning(tmp_path: Path) -> None:
    entry = json.dumps({"boxes": [BOX, changed("class_name", "caf?")]}).encode().replace(b"caf?", b"caf\xe9")
    result = collect(tmp_path, b'{"detection": {"' + A.file_name.encode() + b'": ' + entry + b"}}")
    assert (result.predictions, codes(result)) == ({A.id: (CAT,)}, ["infer_encoding", "infer_unknown_class"])


def test_no_result_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ResultMissingError, match=r"infer-result\.json"):
        collect_inference(tmp_path, [A], DETECTION, ("cat",))


def test_a_file_larger_than_any_result_is_refused_without_being_parsed(tmp_path: Path) -> None:
    (tmp_path / "infer-result.json").touch()
    os.truncate(tmp_path / "infer-result.json", 2**40)
    with pytest.raises(ResultMalformedError, match="larger than"):
        collect_inference(tmp_path, [A], DETECTION, ("cat",))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["cat", A.file_name, "", "1", RLE]),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(
                [
                    "boxes",
                    "annotations",
                    "box",
                    "class_name",
                    "score",
                    "x",
                    "y",
                    "w",
                    "h",
                    A.file_name,
                    "counts",
                    "size",
                    "segmentation",
                    "bbox",
                    "id",
                    "image_id",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
json_documents = st.dictionaries(st.sampled_from(["detection", "images", "annotations", "categories"]), json_values, max_size=4)
mutated = st.builds(
    lambda **changes: coco(instance(**changes)),
    **dict.fromkeys(("bbox", "segmentation", "area", "confidence", "category_id", "image_id", "iscrowd"), json_values),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=json_documents | json_values | mutated, object_type=st.sampled_from([DETECTION, SEMANTIC, ObjectType.MULTI_MODAL]))
def test_any_document_is_predictions_in_range_or_a_result_error(document: Any, object_type: ObjectType, tmp_path: Path) -> None:
    try:
        result = collect(tmp_path, document, object_type)
    except ResultError:
        return
    for box in [box for boxes in result.predictions.values() for box in boxes]:
        assert box.width > 0
        assert box.height > 0
        assert box.score is None or 0 <= box.score <= 1
        assert json.dumps(box.segmentation, allow_nan=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=100))
def test_any_bytes_are_predictions_or_a_result_error(content: bytes, tmp_path: Path) -> None:
    with suppress(ResultError):
        collect(tmp_path, content)
