"""The native contract keeps what the Dialect seam promises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from contracts.seams import GROUPS, Dialect
from plugins.dialects.ymir import YmirDialect
from tests.conformance.dialect import DialectConformance


class TestYmirDialect(DialectConformance):
    @pytest.fixture
    def dialect(self) -> Dialect:
        return YmirDialect()

    @pytest.fixture
    def image_files(self) -> Mapping[str, bytes]:
        return {f"{kind}-template.yaml": b"export_format: ark:raw\n" for kind in ("training", "mining", "infer")} | {
            "manifest.yaml": b"object_type: 2\n"
        }

    def answer_progress(self, out_dir: Path, fraction: float) -> None:
        (out_dir / "monitor.txt").write_text(f"t1234567\t1663934682.08162\t{fraction:.2f}\t2\t0\n")

    def answer_training(self, out_dir: Path) -> None:
        (out_dir / "models/best").mkdir()
        (out_dir / "models/best/weights.bin").write_text("weights")
        stage = {"stage_name": "best", "files": ["weights.bin"], "timestamp": 1663934682, "mAP": 0.5}
        (out_dir / "models/result.yaml").write_text(json.dumps({"best_stage_name": "best", "model_stages": {"best": stage}}))

    def answer_mining(self, in_dir: Path, out_dir: Path) -> None:
        rows = (in_dir / "candidate-index.tsv").read_text().splitlines()
        (out_dir / "result.tsv").write_text("".join(f"{path}\t{1 / (1 + i)}\n" for i, path in enumerate(rows)))

    def answer_inference(self, in_dir: Path, out_dir: Path) -> None:
        box = {"box": {"x": 1, "y": 2, "w": 3, "h": 4}, "class_name": "cat", "score": 0.5}
        rows = (in_dir / "candidate-index.tsv").read_text().splitlines()
        detection = {Path(path).name: {"boxes": [box]} for path in rows}
        (out_dir / "infer-result.json").write_text(json.dumps({"detection": detection}))


def test_it_is_found_through_the_same_door_as_any_other_dialect() -> None:
    found = {point.name: point.value for point in entry_points(group=GROUPS["dialect"])}
    assert found["ymir"] == "plugins.dialects.ymir:YmirDialect"
