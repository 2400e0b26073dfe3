"""The names of files and folders that an image finds in ``/in`` and leaves in ``/out`` (contract reference 3.2, 4.1 and 4.5)."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.dataset import Asset, ContainerPaths

CONFIG = "config.yaml"
ENVIRONMENT = "env.yaml"
TRAIN_INDEX = "train-index.tsv"
VAL_INDEX = "val-index.tsv"
CANDIDATE_INDEX = "candidate-index.tsv"
CANDIDATE_NAMES = "candidate-names.tsv"
COCO_ANNOTATIONS = "coco-annotations.json"
MODEL_INFO = "ymir-info.yaml"
PREDICTIONS = "predictions"
#: What a prediction's file is called, behind the name of its picture (ModelArts).
PREDICTION_ENDING = "_result.txt"
IN_FOLDERS = ("annotations", "assets", "models", "predictions")

MODELS = "models"
TENSORBOARD = "tensorboard"
MONITOR = "monitor.txt"
EXECUTOR_LOG = "ymir-executor-out.log"
TRAINING_RESULT = "models/result.yaml"
ATTACHMENTS = "models/attachments"
MINING_RESULT = "result.tsv"
MINING_REASONS = "mining-reasons.jsonl"
INFERENCE_RESULT = "infer-result.json"
#: Where custom models of ModelArts leave one file for each picture: ``<file name>_result.txt``.
RESULT_FILES = "inference_results"
RESULT_SUFFIX = "_result.txt"
#: Directly in ``/out``, what the contract itself speaks of.
CONTRACT_FILES = frozenset({MODELS, TENSORBOARD, MONITOR, EXECUTOR_LOG, MINING_RESULT, MINING_REASONS, INFERENCE_RESULT, RESULT_FILES})
#: The name that development versions of early 2023 expected for the COCO form.
OLD_COCO_RESULT = "coco-infer-result.json"


@dataclass(frozen=True)
class ContainerView:
    """Paths as the image sees them: the only ones that may be written into a file for it."""

    in_dir: str
    out_dir: str
    assets_dir: str = ""

    @classmethod
    def of(cls, paths: ContainerPaths) -> ContainerView:
        return cls(paths.in_dir.rstrip("/"), paths.out_dir.rstrip("/"), paths.assets_dir.rstrip("/"))

    def in_(self, name: str = "") -> str:
        return f"{self.in_dir}/{name}" if name else self.in_dir

    def out(self, name: str = "") -> str:
        return f"{self.out_dir}/{name}" if name else self.out_dir

    def asset(self, asset: Asset) -> str:
        return f"{self.assets}/{asset.relative_path}"

    @property
    def assets(self) -> str:
        return self.assets_dir or f"{self.in_dir}/assets"

    def annotation(self, asset: Asset, extension: str) -> str:
        """The annotation file mirrors the asset's name: images find one from the other by replacing text."""
        return f"{self.in_dir}/annotations/{asset.id[-2:]}/{asset.id}.{extension}"

    def model_file(self, stage_name: str, name: str) -> str:
        return f"{self.in_dir}/models/{stage_name}/{name}"
