"""The stages of a training job: folders below /out/models and the result.yaml that lists them."""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path
from typing import Any

import yaml
from contract import write_aside

MOST_PERIODIC = 9  # with best and last this stays at the eleven stages the contract's SDK keeps


class Stages:
    """Adds stages one by one; after each, result.yaml is whole and names only files that are there."""

    def __init__(self, models_dir: Path, result_file: Path, evaluate_config: dict[str, float]) -> None:
        self.models_dir, self.result_file, self.evaluate_config = models_dir, result_file, evaluate_config
        self._stages: dict[str, dict[str, Any]] = {}

    def folder(self, name: str) -> Path:
        """Where the files of a stage belong; made if missing."""
        folder = self.models_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def add(self, name: str, files: list[str], metrics: dict[str, float]) -> None:
        """Lists a stage whose files are in its folder. ``metrics``: mAP, mAR in [0, 1], tp, fp, fn counts; may be empty."""
        usable = {key: value for key, value in metrics.items() if math.isfinite(value)}
        self._stages[name] = {"stage_name": name, "files": files, "timestamp": int(time.time()), **usable}
        dropped = self._periodic()[:-MOST_PERIODIC]
        for old in dropped:
            del self._stages[old]
        self._write()
        for old in dropped:
            shutil.rmtree(self.models_dir / old, ignore_errors=True)

    def _periodic(self) -> list[str]:
        return [name for name in self._stages if name not in ("best", "last")]

    def _write(self) -> None:
        best = max(self._stages.values(), key=lambda stage: (stage.get("mAP", 0.0), stage["stage_name"] == "best"))
        document = {
            "best_stage_name": best["stage_name"],
            "mAP": best.get("mAP", 0.0),
            "model_stages": self._stages,
            "evaluate_config": self.evaluate_config,
        }
        write_aside(self.result_file, yaml.safe_dump(document, sort_keys=False))
