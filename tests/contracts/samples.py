"""Small inputs for the native contract: pictures that are a few bytes, a model, and the jobs whose files lie in golden/.

``python -m tests.contracts.samples`` writes golden/ anew, for review with git diff after a wanted change.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.dataset import Annotation, Asset, JobInputs, ModelInput, Sample
from contracts.image import Kind, ObjectType
from contracts.ymir import stage

GOLDEN = Path(__file__).parent / "golden"
CLASSES = ("cat", "dog & <café>", "never seen")
BOXES = (
    Annotation("cat", 10, 20, 30, 40),
    Annotation("dog & <café>", 0.4, 0.6, 5.2, 3.0, quality=0.6, angle=0.25, difficult=True),
    Annotation("not asked for", 1, 1, 2, 2),
)
MASKS = (
    Annotation("cat", 1, 1, 2, 2, segmentation={"counts": [9, 2, 6, 2, 45], "size": [8, 8]}, crowd=True),
    Annotation("dog & <café>", 0, 0, 4, 4, segmentation=[[0, 0, 4.4, 0, 4.4, 4.4, 0, 4.4]]),
    Annotation("cat", 2, 2, 3, 3),
)

#: Of a picture of 64 x 80 pixels.
LABELS = tuple(Annotation(name, 0, 0, 64, 80, shape="image") for name in ("dog & <café>", "cat", "not asked for"))


def make_sample(folder: Path, content: str, annotations: tuple[Annotation, ...] = (), size: tuple[int, int] = (64, 80)) -> Sample:
    """A picture of these bytes in a store below the folder."""
    data = content.encode()
    asset = Asset(hashlib.sha1(data).hexdigest(), "jpg", *size, len(data))
    path = folder / "assets" / asset.relative_path
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(data)
    return Sample(asset, path, annotations, f"{content}.jpg")


def make_model(
    folder: Path, object_type: ObjectType = ObjectType.DETECTION, names: tuple[str, ...] = ("best.pt", "config/net.cfg")
) -> ModelInput:
    """Stage epoch_2 of a model, with a file in a sub-folder."""
    files = {name: folder / "models" / "m1" / "epoch_2" / name for name in names}
    for age, (name, path) in enumerate(files.items()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"weights {name}\n")
        os.utime(path, (1_600_000_000 - age, 1_600_000_000 - age))
    info = {
        "executor_config": {"epochs": 2, "class_names": ["cat"]},
        "task_context": {"executor": "trainer", "mAP": 0.7},
        "stages": {
            "epoch_1": {"stage_name": "epoch_1", "files": ["best.pt"], "timestamp": 1_599_999_000, "mAP": 0.5},
            "epoch_2": {"stage_name": "epoch_2", "files": ["best.pt", "config/net.cfg"], "timestamp": 1_600_000_000, "mAP": 0.7},
        },
        "best_stage_name": "epoch_2",
    }
    return ModelInput("m1", "epoch_2", files, CLASSES, object_type, info)


def training_inputs(folder: Path, parameters: Mapping[str, Any], **changes: Any) -> JobInputs:
    """Two pictures to train on, one to validate on."""
    defaults: dict[str, Any] = {
        "task_id": "t4k2m9xq",
        "kind": Kind.TRAINING,
        "object_type": ObjectType.DETECTION,
        "class_names": CLASSES,
        "parameters": parameters,
        "gpu_count": 2,
        "train": [make_sample(folder, "first", BOXES), make_sample(folder, "second")],
        "val": [make_sample(folder, "third", BOXES[:1])],
    }
    return JobInputs(**{**defaults, **changes})


def candidate_inputs(folder: Path, kind: Kind, parameters: Mapping[str, Any], **changes: Any) -> JobInputs:
    """Three candidates and a model."""
    defaults: dict[str, Any] = {
        "task_id": "m4k2m9xq",
        "kind": kind,
        "object_type": ObjectType.DETECTION,
        "class_names": CLASSES,
        "parameters": parameters,
        "candidates": [make_sample(folder, name) for name in ("first", "second", "third")],
        "model": make_model(folder),
    }
    return JobInputs(**{**defaults, **changes})


def golden_cases(folder: Path) -> dict[str, JobInputs]:
    """Every form of files that is written, by the name of its folder in golden/."""
    plain = {"epochs": 3, "lr": 0.01, "pin": False, "note": "", "text": "Grüße", "anchors": "12, 16", "sizes": [1, 2]}
    mask_samples = {
        "train": [make_sample(folder, "first", MASKS, (8, 8)), make_sample(folder, "second", (), (8, 8))],
        "val": [make_sample(folder, "third", MASKS[2:], (8, 8))],
        "object_type": ObjectType.INSTANCE_SEGMENTATION,
    }
    label_samples = {
        "train": [make_sample(folder, "first", LABELS), make_sample(folder, "second")],
        "val": [make_sample(folder, "third", LABELS[:1])],
        "object_type": ObjectType.CLASSIFICATION,
    }
    return {
        "training-ark": training_inputs(folder, plain | {"export_format": "ark:raw"}),
        "training-voc": training_inputs(folder, plain | {"export_format": "voc:raw"}, gpu_count=0),
        "training-coco": training_inputs(folder, plain | {"export_format": "coco:raw"}, gpu_count=1),
        "training-none": training_inputs(folder, plain | {"export_format": "none:raw"}),
        "training-masks": training_inputs(folder, plain | {"export_format": "seg-coco:raw"}, **mask_samples),
        "training-labels": training_inputs(folder, plain | {"export_format": "cls:raw"}, **label_samples),
        "training-pretrained": training_inputs(folder, plain | {"export_format": "det-ark:raw"}, model=make_model(folder)),
        "mining": candidate_inputs(folder, Kind.MINING, {"mining_algorithm": "aldd"}),
        "inference": candidate_inputs(folder, Kind.INFERENCE, {"conf_thres": 0.25}, gpu_count=1),
        "mining+inference": candidate_inputs(folder, Kind.MINING_INFERENCE, {"conf_thres": 0.25, "mining_algorithm": "aldd"}),
    }


def tree(folder: Path) -> dict[str, bytes]:
    """Every file and empty folder below the folder by its relative path; the time in monitor.txt is masked."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and not any(path.iterdir()):
            found[f"{name}/.empty"] = b""
        elif path.is_file():
            content = path.read_bytes()
            found[name] = re.sub(rb"\t\d+\.\d{6}\t", b"\tTIME\t", content) if path.name == "monitor.txt" else content
    return found


def stage_tree(inputs: JobInputs, work: Path) -> dict[str, bytes]:
    """The whole tree of in/ and out/ that staging makes."""
    stage(inputs, work / "in", work / "out")
    return {f"{side}/{name}": content for side in ("in", "out") for name, content in tree(work / side).items()}


def _write_golden() -> None:
    shutil.rmtree(GOLDEN, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        for case, inputs in golden_cases(Path(temporary)).items():
            for name, content in stage_tree(inputs, Path(temporary) / case).items():
                path = GOLDEN / case / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


if __name__ == "__main__":
    _write_golden()
