"""What is written for an image: golden trees for every form, refusals, and repetition."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.dataset import Annotation, ContainerPaths, JobInputs, Sample
from contracts.errors import DatasetError
from contracts.image import Kind, ObjectType
from contracts.ymir import read_progress, reserved_parameters, stage
from tests.contracts import samples
from tests.contracts.samples import (
    CLASSES,
    GOLDEN,
    candidate_inputs,
    golden_cases,
    make_model,
    make_sample,
    stage_tree,
    training_inputs,
    tree,
)

CASES = sorted(path.name for path in GOLDEN.iterdir())


def codes(inputs: JobInputs, work: Path) -> list[str]:
    return [warning.code for warning in stage(inputs, work / "in", work / "out")]


# ----------------------------------------------------------------------------------------------------------- golden trees


def test_every_golden_case_is_written_and_every_written_case_is_golden(tmp_path: Path) -> None:
    assert sorted(golden_cases(tmp_path)) == CASES


@pytest.mark.parametrize("case", CASES)
def test_every_file_is_written_byte_for_byte_as_in_golden(case: str, tmp_path: Path) -> None:
    assert stage_tree(golden_cases(tmp_path)[case], tmp_path) == tree(GOLDEN / case)


@pytest.mark.parametrize("case", CASES)
def test_the_golden_cases_need_no_tolerance(case: str, tmp_path: Path) -> None:
    assert codes(golden_cases(tmp_path)[case], tmp_path) == []


@pytest.mark.parametrize(
    ("case", "flags", "indexes"),
    [
        ("training-ark", (True, False, False), ("/in/train-index.tsv", "/in/val-index.tsv", "")),
        ("mining", (False, True, False), ("", "", "/in/candidate-index.tsv")),
        ("inference", (False, False, True), ("", "", "/in/candidate-index.tsv")),
        ("mining+inference", (False, True, True), ("", "", "/in/candidate-index.tsv")),
    ],
)
def test_env_yaml_says_exactly_what_section_4_5_says(case: str, flags: tuple[bool, bool, bool], indexes: tuple[str, str, str]) -> None:
    env = yaml.safe_load((GOLDEN / case / "in" / "env.yaml").read_text())
    assert env == {
        "protocol_version": "1.1.0",
        "task_id": env["task_id"],
        "run_training": flags[0],
        "run_mining": flags[1],
        "run_infer": flags[2],
        "manifest_file": "/img-man/manifest.yaml",
        "input": {
            "root_dir": "/in",
            "assets_dir": "/in/assets",
            "annotations_dir": "/in/annotations",
            "models_dir": "/in/models",
            "training_index_file": indexes[0],
            "val_index_file": indexes[1],
            "candidate_index_file": indexes[2],
            "config_file": "/in/config.yaml",
        },
        "output": {
            "root_dir": "/out",
            "models_dir": "/out/models",
            "tensorboard_dir": "/out/tensorboard",
            "training_result_file": "/out/models/result.yaml",
            "mining_result_file": "/out/result.tsv",
            "infer_result_file": "/out/infer-result.json",
            "monitor_file": "/out/monitor.txt",
            "executor_log_file": "/out/ymir-executor-out.log",
        },
    }


# ----------------------------------------------------------------------------------------------------------- config.yaml


def config_of(inputs: JobInputs, work: Path) -> dict[str, Any]:
    stage(inputs, work / "in", work / "out")
    config: dict[str, Any] = yaml.safe_load((work / "in" / "config.yaml").read_text())
    return config


def test_reserved_keys_overwrite_what_a_template_has(tmp_path: Path) -> None:
    parameters = {"gpu_id": "7", "class_names": [], "task_id": "", "pretrained_model_params": ["x"], "export_format": "ark:raw"}
    config = config_of(training_inputs(tmp_path, parameters), tmp_path)
    assert (config["gpu_id"], config["class_names"], config["task_id"]) == ("0,1", list(CLASSES), "t4k2m9xq")
    assert "pretrained_model_params" not in config


def test_gpu_ids_count_from_zero_in_the_container_and_are_empty_without_gpus(tmp_path: Path) -> None:
    assert config_of(training_inputs(tmp_path, {}, gpu_count=3), tmp_path)["gpu_id"] == "0,1,2"
    without = config_of(training_inputs(tmp_path, {}, gpu_count=0), tmp_path)
    assert (without["gpu_id"], without["gpu_count"]) == ("", 0)


@pytest.mark.parametrize(
    ("kind", "flags"), [(Kind.MINING, (True, False)), (Kind.INFERENCE, (False, True)), (Kind.MINING_INFERENCE, (True, True))]
)
def test_run_flags_are_booleans_that_agree_with_env_yaml(kind: Kind, flags: tuple[bool, bool], tmp_path: Path) -> None:
    config = config_of(candidate_inputs(tmp_path, kind, {"run_mining": 0, "run_infer": 0}), tmp_path)
    env = yaml.safe_load((tmp_path / "in" / "env.yaml").read_text())
    assert (config["run_mining"], config["run_infer"]) == flags == (env["run_mining"], env["run_infer"])


def test_yaml_types_of_the_parameters_survive(tmp_path: Path) -> None:
    parameters = {
        "a": 1,
        "b": 1.0,
        "c": False,
        "d": "",
        "e": "yes",
        "f": "012",
        "g": None,
        "h": ["1", 1],
        "i": "1e-3",
        "j": "a: b # c",
        "k": "long " * 60,
    }
    config = config_of(training_inputs(tmp_path, parameters), tmp_path)
    assert repr({name: config[name] for name in parameters}) == repr(parameters)


def test_a_value_that_stands_in_two_places_gets_no_yaml_anchor(tmp_path: Path) -> None:
    shared = [1, 2]
    config_of(training_inputs(tmp_path, {"a": shared, "b": shared}), tmp_path)
    assert "&" not in (tmp_path / "in" / "config.yaml").read_text().replace("dog &", "")


def test_everything_that_staging_sets_is_reserved(tmp_path: Path) -> None:
    for kind in Kind:
        inputs = (
            training_inputs(tmp_path, {}, model=make_model(tmp_path)) if kind is Kind.TRAINING else candidate_inputs(tmp_path, kind, {})
        )
        assert set(config_of(inputs, tmp_path)) == reserved_parameters(kind)


# ---------------------------------------------------------------------------------------------------------- export_format


@pytest.mark.parametrize(
    ("export_format", "object_type", "second_column", "warnings"),
    [
        ("ark:raw", ObjectType.DETECTION, ".txt", []),
        ("det-ark:raw", ObjectType.DETECTION, ".txt", []),
        ("VOC:RAW", ObjectType.DETECTION, ".xml", []),
        ("det-voc:raw", ObjectType.DETECTION, ".xml", []),
        ("coco:raw", ObjectType.DETECTION, "/coco-annotations.json", []),
        ("seg-coco:raw", ObjectType.SEMANTIC_SEGMENTATION, "/coco-annotations.json", []),
        ("none:raw", ObjectType.DETECTION, "", []),
        ("ark", ObjectType.DETECTION, ".txt", ["export_format_without_colon"]),
        ("det-ls-json:raw", ObjectType.DETECTION, "", ["export_format_unknown"]),
        ("", ObjectType.DETECTION, ".xml", ["export_format_default"]),
        (None, ObjectType.DETECTION, ".xml", ["export_format_default"]),
        (None, ObjectType.MULTI_MODAL, ".xml", ["export_format_default"]),
        (None, ObjectType.SEMANTIC_SEGMENTATION, "/coco-annotations.json", ["export_format_default"]),
        (None, ObjectType.INSTANCE_SEGMENTATION, "/coco-annotations.json", ["export_format_default"]),
        ("voc:raw", ObjectType.INSTANCE_SEGMENTATION, ".xml", ["export_format_without_masks"]),
    ],
)
def test_the_image_gets_the_annotations_it_asks_for(
    export_format: str | None, object_type: ObjectType, second_column: str, warnings: list[str], tmp_path: Path
) -> None:
    inputs = training_inputs(tmp_path, {"export_format": export_format}, object_type=object_type)
    assert codes(inputs, tmp_path) == warnings
    for line in (tmp_path / "in" / "train-index.tsv").read_text().splitlines():
        columns = line.split("\t")
        assert columns[1:] == ([columns[1]] if second_column else [])
        assert columns[-1].endswith(second_column or ".jpg")


def test_an_image_without_the_key_gets_the_default_annotations(tmp_path: Path) -> None:
    assert codes(training_inputs(tmp_path, {}), tmp_path) == ["export_format_default"]


@pytest.mark.parametrize("export_format", ["ark:lmdb", "ark:raw:raw", "ark:", ":", 5, ["ark:raw"]])
def test_pictures_in_another_form_than_raw_are_refused(export_format: Any, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="export_format"):
        codes(training_inputs(tmp_path, {"export_format": export_format}), tmp_path)


def test_a_mining_image_needs_no_export_format(tmp_path: Path) -> None:
    assert codes(candidate_inputs(tmp_path, Kind.MINING, {}), tmp_path) == []


# ---------------------------------------------------------------------------------------------------------------- refusals


def refused(inputs: JobInputs, work: Path) -> str:
    """The message of the refusal, which must come before anything is written."""
    with pytest.raises(DatasetError) as raised:
        stage(inputs, work / "in", work / "out")
    assert raised.value.hint
    assert not (work / "in").exists()
    return raised.value.message


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split_is_refused(split: str, tmp_path: Path) -> None:
    assert refused(training_inputs(tmp_path, {}, **{split: []}), tmp_path) == f"{split} has no pictures"


def test_no_candidates_are_refused(tmp_path: Path) -> None:
    assert "candidates has no pictures" in refused(candidate_inputs(tmp_path, Kind.MINING, {}, candidates=[]), tmp_path)


def test_a_picture_in_train_and_val_is_refused_by_name(tmp_path: Path) -> None:
    assert "first.jpg" in refused(training_inputs(tmp_path, {}, val=[make_sample(tmp_path, "first")]), tmp_path)


def test_duplicate_candidates_are_refused_by_name(tmp_path: Path) -> None:
    twice = [make_sample(tmp_path, "first"), make_sample(tmp_path, "first")]
    assert "first.jpg twice" in refused(candidate_inputs(tmp_path, Kind.INFERENCE, {}, candidates=twice), tmp_path)


@pytest.mark.parametrize("names", [(), ("cat", "cat"), ("cat", " "), ("cat", "a\tb")])
def test_missing_or_duplicate_class_names_are_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    assert "class name" in refused(training_inputs(tmp_path, {}, class_names=names), tmp_path)


def test_only_multi_modal_mining_and_inference_go_without_class_names(tmp_path: Path) -> None:
    model = make_model(tmp_path, ObjectType.MULTI_MODAL)
    prompt = candidate_inputs(tmp_path, Kind.INFERENCE, {}, class_names=(), object_type=ObjectType.MULTI_MODAL, model=model)
    refused(training_inputs(tmp_path, {}, class_names=(), object_type=ObjectType.MULTI_MODAL), tmp_path)
    refused(candidate_inputs(tmp_path, Kind.INFERENCE, {}, class_names=()), tmp_path)
    assert config_of(prompt, tmp_path)["class_names"] == []


@pytest.mark.parametrize("paths", [ContainerPaths("/my data/in", "/out"), ContainerPaths("/in", "/o\tut"), ContainerPaths("in", "/out")])
def test_paths_that_images_cannot_split_are_refused(paths: ContainerPaths, tmp_path: Path) -> None:
    assert "white space" in refused(training_inputs(tmp_path, {}, paths=paths), tmp_path)


@pytest.mark.parametrize("task_id", ["", "a b", "t-1", "../x"])
def test_a_task_id_that_images_cannot_take_is_refused(task_id: str, tmp_path: Path) -> None:
    assert "task id" in refused(training_inputs(tmp_path, {}, task_id=task_id), tmp_path)


@pytest.mark.parametrize("name", ["../escape", "/abs", "", "a/../b", "x\ny", "./a"])
def test_a_model_file_that_would_leave_its_stage_is_refused(name: str, tmp_path: Path) -> None:
    model = make_model(tmp_path)
    model = replace(model, files={name: model.files["best.pt"]})
    assert "file or stage named" in refused(candidate_inputs(tmp_path, Kind.MINING, {}, model=model), tmp_path)


def test_a_model_for_another_object_type_is_refused(tmp_path: Path) -> None:
    model = make_model(tmp_path, ObjectType.INSTANCE_SEGMENTATION)
    assert "instance segmentation" in refused(candidate_inputs(tmp_path, Kind.INFERENCE, {}, model=model), tmp_path)


@pytest.mark.parametrize("change", [{"id": "not a sha1"}, {"extension": "../x"}, {"id": "A" * 40}])
def test_an_asset_whose_name_is_not_a_hash_is_refused(change: dict[str, str], tmp_path: Path) -> None:
    good = make_sample(tmp_path, "first")
    bad = replace(good, asset=replace(good.asset, **change))  # type: ignore[arg-type]
    assert "has an asset named" in refused(training_inputs(tmp_path, {}, train=[bad]), tmp_path)


def test_a_lost_picture_is_named(tmp_path: Path) -> None:
    inputs = training_inputs(tmp_path, {})
    inputs.train[1].path.unlink()
    with pytest.raises(DatasetError, match=r"second\.jpg"):
        stage(inputs, tmp_path / "in", tmp_path / "out")


def test_a_lost_model_file_is_named(tmp_path: Path) -> None:
    inputs = candidate_inputs(tmp_path, Kind.MINING, {})
    assert inputs.model
    inputs.model.files["best.pt"].unlink()
    with pytest.raises(DatasetError, match=r"best\.pt"):
        stage(inputs, tmp_path / "in", tmp_path / "out")


# -------------------------------------------------------------------------------------------------- files, links and modes


def test_assets_and_model_files_are_hard_links(tmp_path: Path) -> None:
    inputs = candidate_inputs(tmp_path, Kind.MINING, {})
    assert codes(inputs, tmp_path) == []
    assert inputs.model
    for sample in inputs.candidates:
        assert (tmp_path / "in" / "assets" / sample.asset.relative_path).samefile(sample.path)
    assert (tmp_path / "in/models/epoch_2/config/net.cfg").samefile(inputs.model.files["config/net.cfg"])


@pytest.mark.skipif(
    not os.access("/dev/shm", os.W_OK) or Path("/dev/shm").stat().st_dev == Path("/tmp").stat().st_dev, reason="one file system only"
)
def test_what_lies_on_another_file_system_is_copied_with_one_warning(tmp_path: Path) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir="/dev/shm") as store:
        inputs = candidate_inputs(Path(store), Kind.MINING, {})
        warnings = stage(inputs, tmp_path / "in", tmp_path / "out")
        assert [(w.code, w.place) for w in warnings] == [("copied_not_linked", "assets"), ("copied_not_linked", "models")]
        assert "3 times" in warnings[0].message
        assert (tmp_path / "in" / "assets" / inputs.candidates[0].asset.relative_path).read_text() == "first"


def test_an_asset_that_is_a_link_in_the_store_is_linked_by_its_content(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, "first")
    link = tmp_path / "link.jpg"
    link.symlink_to(sample.path)
    codes(candidate_inputs(tmp_path, Kind.MINING, {}, candidates=[replace(sample, path=link)]), tmp_path)
    assert not (tmp_path / "in" / "assets" / sample.asset.relative_path).is_symlink()


def test_model_files_are_linked_from_the_oldest_to_the_newest(tmp_path: Path) -> None:
    """Some images take the newest file by ctime."""
    model = make_model(tmp_path, names=tuple(f"epoch_{i}.pt" for i in range(5)))  # epoch_0 is the newest
    before = [path.stat().st_ctime_ns for path in model.files.values()]
    codes(candidate_inputs(tmp_path, Kind.MINING, {}, model=model), tmp_path)
    after = [path.stat().st_ctime_ns for path in model.files.values()]
    assert after == sorted(after, reverse=True)
    assert after != before


def test_a_model_file_with_white_space_is_given_with_a_warning(tmp_path: Path) -> None:
    model = make_model(tmp_path, names=("my best.pt",))
    assert codes(candidate_inputs(tmp_path, Kind.MINING, {}, model=model), tmp_path) == ["model_file_with_space"]
    assert (tmp_path / "in/models/epoch_2/my best.pt").exists()


def test_out_is_open_to_any_user_and_in_is_readable_whatever_the_umask(tmp_path: Path) -> None:
    inputs = training_inputs(tmp_path, {"export_format": "voc:raw"}, model=make_model(tmp_path))
    previous = os.umask(0o077)
    try:
        codes(inputs, tmp_path)
    finally:
        os.umask(previous)
    modes = {path.relative_to(tmp_path).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*")}
    files = {"out/monitor.txt": 0o666, "out/ymir-executor-out.log": 0o666}
    assert modes == {"out/models": 0o777, "out/tensorboard": 0o777, **files}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o777
    own = [p for p in (tmp_path / "in").rglob("*") if p.is_dir() or p.stat().st_nlink == 1]
    assert all(stat.S_IMODE(p.stat().st_mode) == (0o755 if p.is_dir() else 0o644) for p in own)


def test_the_first_monitor_row_says_pending(tmp_path: Path) -> None:
    codes(training_inputs(tmp_path, {}), tmp_path)
    progress = read_progress(tmp_path / "out")
    assert progress
    assert (progress.fraction, progress.state, progress.warnings) == (0.0, "pending", ())
    assert (tmp_path / "out" / "monitor.txt").read_text().count("\t") == 4


# -------------------------------------------------------------------------------------------------------------- repetition


def test_staging_again_gives_the_same_bytes_and_leaves_nothing_of_another_try(tmp_path: Path) -> None:
    inputs = golden_cases(tmp_path)["training-voc"]
    first = stage_tree(inputs, tmp_path)
    (tmp_path / "in/annotations/zz").mkdir()
    (tmp_path / "in/annotations/zz/half.xml").write_text("<anno")
    (tmp_path / "out/models/old.pt").write_text("of an earlier attempt")
    (tmp_path / "out/link").symlink_to(tmp_path / "assets")
    assert stage_tree(inputs, tmp_path) == first
    assert inputs.train[0].path.exists()


def test_the_order_of_the_samples_does_not_matter(tmp_path: Path) -> None:
    inputs = golden_cases(tmp_path)["training-coco"]
    assert stage_tree(replace(inputs, train=inputs.train[::-1]), tmp_path) == tree(GOLDEN / "training-coco")


def test_host_paths_are_written_where_the_image_sees_host_paths(tmp_path: Path) -> None:
    paths = ContainerPaths(str(tmp_path / "in") + "/", str(tmp_path / "out"))
    codes(training_inputs(tmp_path, {"export_format": "ark:raw"}, paths=paths, model=make_model(tmp_path)), tmp_path)
    for line in (tmp_path / "in" / "train-index.tsv").read_text().splitlines():
        assert all(Path(path).is_file() for path in line.split())
    env = yaml.safe_load((tmp_path / "in" / "env.yaml").read_text())
    assert Path(env["input"]["config_file"]).is_file()
    assert Path(env["output"]["monitor_file"]).is_file()
    assert all(Path(path).is_file() for path in yaml.safe_load((tmp_path / "in" / "config.yaml").read_text())["pretrained_model_params"])


def test_boxes_without_an_area_are_left_out_with_a_warning(tmp_path: Path) -> None:
    sample = make_sample(
        tmp_path, "first", (Annotation("cat", 1, 1, 0, 5), Annotation("cat", float("nan"), 1, 2, 2), Annotation("cat", 1, 1, 2, 2))
    )
    inputs = training_inputs(tmp_path, {"export_format": "ark:raw"}, train=[sample])
    warnings = stage(inputs, tmp_path / "in", tmp_path / "out")
    assert [w.code for w in warnings] == ["box_without_area"]
    assert "2 times" in warnings[0].message
    assert (tmp_path / "in/annotations" / sample.asset.id[-2:] / f"{sample.asset.id}.txt").read_text() == "0, 1, 1, 2, 2, -1.0, 0.0\n"


def test_ten_thousand_samples_are_staged_without_reading_a_picture(tmp_path: Path) -> None:
    store = samples.make_sample(tmp_path, "one file for all")
    os.truncate(store.path, 2**40)  # a sparse terabyte: reading it would be noticed
    many: list[Sample] = [
        Sample(replace(store.asset, id=f"{i:040x}"), store.path, (Annotation("cat", 1, 1, 2, 2),) * 3) for i in range(10_001)
    ]
    codes(training_inputs(tmp_path, {"export_format": "coco:raw"}, train=many[1:], val=many[:1]), tmp_path)
    assert len((tmp_path / "in" / "train-index.tsv").read_text().splitlines()) == 10_000
    os.truncate(store.path, 0)
