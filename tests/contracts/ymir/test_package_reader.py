"""What a package says of its model, in every form that is known and however it is bent."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import RequestError
from contracts.image import ObjectType
from contracts.results import StageResult
from contracts.ymir.documents import dump_yaml
from contracts.ymir.package import ModelPackage, package_info
from contracts.ymir.package_reader import MAX_INFO_BYTES, PackageInfo, read_package_info

STAGE: dict[str, Any] = {"stage_name": "epoch_1", "files": ["best.pt", "net.cfg"], "timestamp": 1_700_000_000, "mAP": 0.5}
INFO: dict[str, Any] = {
    "executor_config": {"class_names": ["cat", "dog"], "epochs": 3},
    "task_context": {"executor": "trainer:1", "producer": "ymir", "mAP": 0.5, "type": 1},
    "stages": {"epoch_1": STAGE},
    "best_stage_name": "epoch_1",
    "package_version": "2.0.0",
    "object_type": 2,
    "attachments": {},
    "evaluate_config": {"iou_thr": 0.5},
    "model_hash": "",
    "stage_name": "",
}


def read(**changes: Any) -> PackageInfo:
    """As the standard package with these keys changed; None takes one out."""
    return read_package_info(yaml.safe_dump({key: value for key, value in {**INFO, **changes}.items() if value is not None}).encode())


def stage(**changes: Any) -> dict[str, Any]:
    return {"epoch_1": {key: value for key, value in {**STAGE, **changes}.items() if value is not None}}


def codes(info: PackageInfo) -> list[str]:
    return [warning.code for warning in info.warnings]


@pytest.mark.parametrize("version", ["2.0.0", "2.0.1", "2.0.2"])
def test_a_package_as_it_should_be_is_read_without_a_word(version: str) -> None:
    info = read(package_version=version)
    assert (info.version, info.warnings, info.class_names, info.object_type) == (version, (), ("cat", "dog"), ObjectType.DETECTION)
    assert (info.parameters, info.evaluate_config, info.best_stage_name) == ({"epochs": 3}, {"iou_thr": 0.5}, "epoch_1")
    (only,) = info.stages
    assert (only.name, only.files, dict(only.metrics), only.timestamp) == ("epoch_1", ("best.pt", "net.cfg"), {"mAP": 0.5}, 1_700_000_000)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"package_version": None}, "package_no_version"),
        ({"stages": stage(stage_name=None)}, "package_stage_name"),
        ({"stages": stage(stage_name="other")}, "package_stage_name"),
        ({"stages": stage(timestamp=None)}, "package_timestamp"),
        ({"stages": stage(timestamp="soon")}, "package_timestamp"),
        ({"stages": stage(files="best.pt")}, "package_files_not_list"),
        ({"stages": stage(mAP=None, map=0.5)}, "result_metric_name"),
        ({"stages": stage(TP=3)}, "result_metric_name"),
        ({"stages": stage(mAP=50)}, "result_metric_dropped"),
        ({"object_type": "2"}, "package_object_type"),
        ({"object_type": "detection"}, "package_object_type"),
        ({"executor_config": None}, "package_no_config"),
        ({"executor_config": {"class_names": "cat, dog"}}, "package_classes_not_list"),
        ({"task_context": ["mAP"]}, "package_wrong_type"),
        ({"best_stage_name": "epoch_9"}, "package_best_stage"),
        ({"evaluate_config": {"iou_thr": "high"}}, "package_evaluate_config"),
    ],
)
def test_a_deviation_that_can_be_understood_is_named(changes: dict[str, Any], code: str) -> None:
    info = read(**changes)
    assert codes(info) == [code]
    assert info.stages[0].files[0] == "best.pt"


def test_metrics_in_capitals_and_under_old_names_are_found() -> None:
    info = read(stages=stage(mAP=None, map=0.25, TP=3, FP=2, FN=1))
    assert info.stages[0].metrics == {"mAP": 0.25, "tp": 3, "fp": 2, "fn": 1}


def test_metrics_of_others_own_are_kept() -> None:
    info = read(stages=stage(F1=0.5, author="me"))
    assert info.stages[0].metrics == {"mAP": 0.5, "F1": 0.5}
    assert codes(info) == ["result_value_left_out"]


def test_the_first_form_is_one_stage_with_the_metric_of_the_task() -> None:
    old = {"executor_config": {"class_names": ["cat"]}, "models": ["best.pt", "net.cfg"], "task_context": {"mAP": 0.6}}
    for version in ({}, {"package_version": "1.1.0"}):
        info = read_package_info(yaml.safe_dump(old | version).encode())
        assert (info.version, info.best_stage_name, info.object_type) == ("1.1.0", "default_best_stage", ObjectType.DETECTION)
        assert (info.stages[0].files, info.stages[0].metrics) == (("best.pt", "net.cfg"), {"mAP": 0.6})
        assert codes(info) == ([] if version else ["package_old_form"])


@pytest.mark.parametrize("given", [None, 0, 2])
def test_nothing_and_zero_mean_detection(given: int | None) -> None:
    assert read(object_type=given).object_type is ObjectType.DETECTION
    assert read(object_type=3).object_type is ObjectType.SEMANTIC_SEGMENTATION


@pytest.mark.parametrize(
    "changes",
    [
        {"package_version": "3.0.0"},
        {"package_version": [2]},
        {"object_type": 7},
        {"object_type": "a cat"},
        {"stages": {}},
        {"stages": ["epoch_1"]},
        {"stages": {"epoch_1": ["best.pt"]}},
        {"stages": {"a b": STAGE, "a_b": STAGE}},
        {"stages": stage(files=[])},
        {"stages": stage(files=None)},
        {"stages": stage(files={"a": 1})},
        {"stages": stage(files=[{"a": 1}])},
        {"stages": stage(files=["../best.pt"])},
        {"stages": stage(files=["/etc/passwd"])},
        {"stages": stage(files=["a\\b.pt"])},
        {"stages": stage(files=["a\x1b[2J.pt"])},
        {"stages": stage(files=["."])},
        {"attachments": {"plots": ["../../x"]}},
        {"executor_config": {"class_names": {"cat": 0}}},
        {"executor_config": {"class_names": ["cat", "cat"]}},
        {"executor_config": {"class_names": ["cat", " "]}},
        {"stages": None, "package_version": None},
    ],
)
def test_what_would_have_to_be_guessed_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        read(**changes)
    assert caught.value.message.isprintable()
    assert caught.value.hint


ALIASES = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{n}: &{n} [{','.join([f'*{m}'] * 10)}]\n" for m, n in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"just words",
        b"- a\n- list",
        b"\xff\xfe\x00",
        ALIASES.encode(),
        b"a: &a [*a]\n",
        b"[" * 10_000,
        b"!!python/object/apply:os.system ['touch /tmp/x']\n",
        b"stages: !!python/name:os.system\n",
        b"a: " + b"1:" * 5000 + b"1",
        b"x: y\n" * (MAX_INFO_BYTES // 5 + 10),
    ],
    ids=["empty", "words", "list", "binary", "aliases of aliases", "its own alias", "deep", "a call", "a name", "base 60", "too large"],
)
def test_a_hostile_description_is_refused_in_words(content: bytes) -> None:
    with pytest.raises(RequestError, match=r"ymir-info\.yaml cannot be used"):
        read_package_info(content)


NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,20}", fullmatch=True).filter(lambda name: name.strip("."))
METRICS = st.dictionaries(st.sampled_from(["mAP", "mAR", "mIoU", "maskAP", "boxAP"]), st.floats(0, 1), max_size=4)


@given(
    stages=st.dictionaries(
        NAMES, st.tuples(st.sets(NAMES, min_size=1, max_size=3), METRICS, st.integers(0, 4_000_000_000)), min_size=1, max_size=4
    ),
    classes=st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8), min_size=1, unique=True),
    parameters=st.dictionaries(NAMES, st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.text(max_size=9)), max_size=4),
    object_type=st.sampled_from([t for t in ObjectType if t]),
)
def test_what_we_write_is_read_as_it_was(
    stages: dict[str, Any], classes: list[str], parameters: dict[str, Any], object_type: ObjectType
) -> None:
    made = [StageResult(name, dict.fromkeys(files), metrics, timestamp) for name, (files, metrics, timestamp) in stages.items()]  # type: ignore[arg-type]
    parameters.pop("class_names", None)
    package = ModelPackage("m", made, made[0].name, classes, object_type, executor_config=parameters)
    info = read_package_info(dump_yaml(package_info(package)).encode())
    assert info.warnings == ()
    assert {s.name: (set(s.files), dict(s.metrics), s.timestamp) for s in info.stages} == stages
    assert (info.best_stage_name, info.object_type, info.parameters) == (made[0].name, object_type, parameters)
    assert info.class_names == tuple(classes)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_make_it_fail_otherwise_than_in_words(content: bytes) -> None:
    with suppress(RequestError):
        read_package_info(content)
