"""A model as one file (section 7): what YMIR's importer reads from it."""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from contracts.errors import RequestError
from contracts.image import ObjectType
from contracts.results import StageResult
from contracts.ymir import ModelPackage, write_package


@pytest.fixture
def package(tmp_path: Path) -> ModelPackage:
    for name in ("1/best.pt", "2/best.pt", "2/config/net.py", "curve.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return ModelPackage(
        name="m1",
        stages=(
            StageResult(
                "epoch_2",
                {"config/net.py": tmp_path / "2/config/net.py", "best.pt": tmp_path / "2/best.pt"},
                {"mAP": 0.5, "tp": 3.0},
                20,
            ),
            StageResult("epoch_1", {"best.pt": tmp_path / "1/best.pt"}, {"mAP": 0.25}, 10),
        ),
        best_stage_name="epoch_2",
        class_names=("cat", "dög"),
        executor_config={"epochs": 2, "class_names": ["old"]},
        task_context={"executor": "trainer:1"},
        attachments={"curves": [tmp_path / "curve.json"]},
        evaluate_config={"iou_thr": 0.5},
    )


def test_it_is_a_gzip_tar_of_stages_attachments_and_a_description(package: ModelPackage, tmp_path: Path) -> None:
    write_package(package, tmp_path / "m1.tar.gz")
    with tarfile.open(tmp_path / "m1.tar.gz", "r:gz") as archive:
        names = archive.getnames()
        content = archive.extractfile("epoch_2/config/net.py")
        assert content
        assert content.read() == b"2/config/net.py"
        assert all(member.isreg() and (member.uid, member.uname, member.mode) == (0, "", 0o644) for member in archive.getmembers())
    assert names == ["attachments/curves/curve.json", "epoch_1/best.pt", "epoch_2/best.pt", "epoch_2/config/net.py", "ymir-info.yaml"]


def test_the_description_has_every_key_of_package_version_2_0_0(package: ModelPackage, tmp_path: Path) -> None:
    write_package(package, tmp_path / "m1.tar.gz")
    with tarfile.open(tmp_path / "m1.tar.gz") as archive:
        described = archive.extractfile("ymir-info.yaml")
        assert described
        info = yaml.safe_load(described)
    assert info == {
        "attachments": {"curves": ["curve.json"]},
        "best_stage_name": "epoch_2",
        "evaluate_config": {"iou_thr": 0.5},
        "executor_config": {"epochs": 2, "class_names": ["cat", "dög"]},
        "model_hash": "",
        "object_type": 2,
        "package_version": "2.0.0",
        "stage_name": "",
        "stages": {
            "epoch_1": {"stage_name": "epoch_1", "files": ["best.pt"], "timestamp": 10, "mAP": 0.25},
            "epoch_2": {"stage_name": "epoch_2", "files": ["best.pt", "config/net.py"], "timestamp": 20, "mAP": 0.5, "tp": 3},
        },
        "task_context": {"executor": "trainer:1", "mAP": 0.5, "object_type": 2, "producer": "sluice", "type": 1},
    }


def test_the_same_model_gives_the_same_bytes_and_their_sha1(package: ModelPackage, tmp_path: Path) -> None:
    first = write_package(package, tmp_path / "first.tar.gz")
    for path in tmp_path.rglob("*.pt"):
        path.touch()
    second = write_package(replace(package, stages=package.stages[::-1]), tmp_path / "second.bin")
    assert first == second == hashlib.sha1((tmp_path / "first.tar.gz").read_bytes()).hexdigest()
    assert (tmp_path / "first.tar.gz").read_bytes() == (tmp_path / "second.bin").read_bytes()


@pytest.mark.parametrize("break_it", ["best stage", "file", "no stages"])
def test_a_model_that_is_not_whole_is_refused_and_nothing_is_left(break_it: str, package: ModelPackage, tmp_path: Path) -> None:
    if break_it == "file":
        (tmp_path / "1/best.pt").unlink()
    broken = {"best stage": replace(package, best_stage_name="x"), "file": package, "no stages": replace(package, stages=())}[break_it]
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(RequestError) as raised:
        write_package(broken, target / "m1.tar.gz")
    assert raised.value.hint
    assert list(target.iterdir()) == []


def test_an_existing_package_is_replaced_as_a_whole(package: ModelPackage, tmp_path: Path) -> None:
    target = tmp_path / "m1.tar.gz"
    target.write_text("old")
    write_package(replace(package, object_type=ObjectType.UNKNOWN), target)
    assert tarfile.is_tarfile(target)
    assert not list(tmp_path.glob(".m1*"))
