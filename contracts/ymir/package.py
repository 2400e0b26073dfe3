"""A model as one file that YMIR and Sluice can import: a gzip tar of stages and ``ymir-info.yaml`` (contract reference 7)."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from contracts.errors import RequestError
from contracts.image import ObjectType
from contracts.results import StageResult
from contracts.ymir.documents import dump_yaml
from contracts.ymir.layout import MODEL_INFO
from contracts.ymir.model_info import model_info, stage_info

_GZIP_LEVEL = 1  # weights hardly compress: more effort costs minutes and saves next to nothing
_BLOCK = 1024**2


@dataclass(frozen=True)
class ModelPackage:
    """A whole model, ready to be written.

    ``executor_config`` is the config.yaml of its training, ``task_context`` what is known of the job (``executor``: the image);
    ``attachments`` maps a section to its host files.
    """

    name: str
    stages: Sequence[StageResult]
    best_stage_name: str
    class_names: Sequence[str]
    object_type: ObjectType = ObjectType.DETECTION
    executor_config: Mapping[str, Any] = field(default_factory=dict)
    task_context: Mapping[str, Any] = field(default_factory=dict)
    attachments: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    evaluate_config: Mapping[str, float] = field(default_factory=dict)


def write_package(package: ModelPackage, target: Path) -> str:
    """Write the package and return the sha1 of its bytes, which is YMIR's ``model_hash``.

    The same model gives the same bytes. ``target`` appears only when it is whole. Raises ``RequestError`` for a model without stages, with an
    unknown best stage, or whose files are gone.
    """
    _check(package)
    descriptor, aside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write(package, file)
            file.flush()
            os.fsync(file.fileno())
        digest = _sha1(Path(aside))
        Path(aside).chmod(0o644)
        Path(aside).replace(target)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    return digest


def package_info(package: ModelPackage) -> dict[str, Any]:
    """The content of the package's ``ymir-info.yaml``."""
    return model_info(
        {stage.name: stage_info(stage.name, stage.files, stage.metrics, stage.timestamp) for stage in package.stages},
        package.best_stage_name,
        executor_config=package.executor_config,
        task_context=package.task_context,
        object_type=package.object_type,
        class_names=package.class_names,
        attachments={section: [path.name for path in paths] for section, paths in package.attachments.items()},
        evaluate_config=package.evaluate_config,
    )


def _check(package: ModelPackage) -> None:
    names = [stage.name for stage in package.stages]
    if package.best_stage_name not in names:
        raise RequestError(
            f"model {package.name!r} has no stage {package.best_stage_name!r} to be its best",
            hint=f"It has: {', '.join(names) or 'no stage'}.",
        )
    lost = [str(path) for _, path in package_members(package) if not path.is_file()]
    if lost:
        raise RequestError(f"model {package.name!r} has lost {len(lost)} of its files: {lost[0]}", hint="It cannot be exported whole.")


def package_members(package: ModelPackage) -> list[tuple[str, Path]]:
    """Every file with its name in the archive, sorted."""
    files = [(f"{stage.name}/{name}", path) for stage in package.stages for name, path in stage.files.items()]
    files += [(f"attachments/{section}/{path.name}", path) for section, paths in package.attachments.items() for path in paths]
    return sorted(files)


def _write(package: ModelPackage, file: BinaryIO) -> None:
    info = dump_yaml(package_info(package)).encode()
    timestamp = max(stage.timestamp for stage in package.stages)
    # Neither the name nor the time of the archive goes into it: the same model must give the same bytes.
    with (
        gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as compressed,
        tarfile.open(fileobj=cast(BinaryIO, compressed), mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name, path in package_members(package):
            with path.open("rb") as content:
                archive.addfile(_header(name, os.fstat(content.fileno()).st_size, timestamp), content)
        archive.addfile(_header(MODEL_INFO, len(info), timestamp), io.BytesIO(info))


def _header(name: str, size: int, timestamp: int) -> tarfile.TarInfo:
    """Nobody's file: no user, no group, no rights beyond reading."""
    header = tarfile.TarInfo(name)
    header.size, header.mtime, header.mode = size, timestamp, 0o644
    return header


def _sha1(path: Path) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
