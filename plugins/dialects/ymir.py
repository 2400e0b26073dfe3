"""The native contract as a dialect: YMIR's, all versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts import ymir
from contracts.dataset import Asset, JobInputs
from contracts.image import ImageMetadata, Kind, ObjectType, Parameter, Wishes
from contracts.job import JobWarning
from contracts.results import InferenceResult, MiningResult, Progress, TrainingResult
from contracts.seams import Dialect


class YmirDialect(Dialect):
    """``/in``, ``/out`` and ``/img-man``: written strictly, read tolerantly."""

    name = "ymir"
    metadata_folder = ymir.METADATA_FOLDER
    output_log = "/out/ymir-executor-out.log"

    def read_metadata(self, files: Mapping[str, bytes]) -> ImageMetadata:
        return ymir.read_metadata(files)

    def stage(self, inputs: JobInputs, in_dir: Path, out_dir: Path) -> list[JobWarning]:
        return ymir.stage(inputs, in_dir, out_dir)

    def wishes(self, kind: Kind, parameters: Mapping[str, Any]) -> Wishes:
        return ymir.wishes(kind, parameters)

    def read_progress(self, out_dir: Path) -> Progress | None:
        return ymir.read_progress(out_dir)

    def collect_training(self, out_dir: Path) -> TrainingResult:
        return ymir.collect_training(out_dir)

    def collect_mining(self, out_dir: Path, candidates: Sequence[Asset]) -> MiningResult:
        return ymir.collect_mining(out_dir, candidates)

    def collect_inference(
        self, out_dir: Path, candidates: Sequence[Asset], object_type: ObjectType, class_names: Sequence[str]
    ) -> InferenceResult:
        return ymir.collect_inference(out_dir, candidates, object_type, class_names)

    def shm_bytes(self, parameters: Mapping[str, Any], gpu_count: int, host_bytes: int) -> tuple[int, list[JobWarning]]:
        return ymir.shm_bytes(parameters, gpu_count, host_bytes)

    def reserved_parameters(self, kind: Kind) -> frozenset[str]:
        return ymir.reserved_parameters(kind)

    def extra_parameters(self, metadata: ImageMetadata) -> tuple[Parameter, ...]:
        return (*ymir.PLATFORM_PARAMETERS, *(ymir.LIVE_CODE_PARAMETERS if metadata.enable_livecode else ()))
