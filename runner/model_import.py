"""Stores a model that comes from elsewhere, whole or not at all: read and copied aside first, shown in one transaction.

A process that is killed on the way leaves only what lies aside, which ``sluice gc`` and the next import clear.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from contracts.errors import RequestError, UnavailableError
from contracts.image import Kind
from contracts.job import JobWarning
from registry import images, models
from registry.lookup import check_folder_name
from registry.models import ModelRecord, StageRecord
from registry.versions import take_version
from runner.aside import aside_folder
from runner.installation import Installation
from runner.model_files import model_folder, sha256, show_folder
from runner.model_source import LIMITS, Facts, FoundModel, FoundStage, found_model
from runner.run_dir import sync_to_disk

Count = Callable[[int, "int | None"], None]
_BLOCK = 1024**2


def import_model(
    installation: Installation,
    name: str,
    source: Path,
    facts: Facts,
    *,
    image: str | None,
    description: str,
    origin: Mapping[str, Any],
    on_progress: Count,
) -> tuple[ModelRecord, bool, list[JobWarning]]:
    """The stored version, whether it was there already as the newest one, and what was tolerated.

    ``image``: the registered training image it belongs to; None looks for the one that the package names. Raises ``NotFoundError`` and
    ``RequestError``.
    """
    check_folder_name("model", name)
    with installation.database.reading() as session:
        _check_image(session, image)
    with found_model(source, installation.home, facts) as found, aside_folder(installation.home, "model") as aside:
        whole = aside / "whole"
        stages = _place(found, whole, on_progress)
        with installation.database.writing() as session:
            image_name, warning = _image_of(session, image, found)
            warnings = [*found.warnings, *([warning] if warning else [])]
            values = _values(
                found, stages, image_name, description, {**origin, "form": found.form, "task_context": dict(found.task_context)}
            )
            if same := _same(session, name, values):
                return same, True, warnings
            version = take_version(session, name)
            folder = model_folder(session, name, version, secrets.token_hex(4))
            show_folder(whole, installation.home / folder)
            return models.add_model(session, name=name, version=version, folder=folder, **values), False, warnings


def _check_image(session: Session, name: str | None) -> None:
    if name and Kind.TRAINING not in (image := images.get_image(session, name)).kinds:
        offered = ", ".join(map(str, image.kinds))
        raise RequestError(f"{name} is no training image: it offers {offered}", hint="Name the image that trained the model.")


def _image_of(session: Session, named: str | None, found: FoundModel) -> tuple[str, JobWarning | None]:
    if named:
        return named, None
    maker = str(found.task_context.get("executor") or "")
    for image in images.list_images(session):
        if maker and maker in (image.name, image.reference) and Kind.TRAINING in image.kinds:
            return image.name, None
    what = f"it was made by {maker[:200]}, which is not registered here" if maker else "nothing tells which training image it belongs to"
    return "", JobWarning("no_image", f"{what}: images can read it only with --unlinked; --image NAME says it")


def _values(
    found: FoundModel, stages: Sequence[StageRecord], image_name: str, description: str, origin: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "image_name": image_name,
        "image_digest": "",  # which content of the image trained it, nobody here has seen
        "object_type": int(found.object_type),
        "class_names": found.class_names,
        "best_stage": found.best_stage,
        "parameters": dict(found.parameters),
        "evaluate_config": dict(found.evaluate_config),
        "attachments": {section: [path.name for path in paths] for section, paths in found.attachments.items()},
        "stages": tuple(stages),
        "description": description,
        "origin": {"how": "import", **origin},
    }


def _same(session: Session, name: str, values: Mapping[str, Any]) -> ModelRecord | None:
    """The newest version, when it is the same model: an import that is repeated makes no other."""
    newest = models.find_model(session, name)
    told = ("image_name", "object_type", "class_names", "best_stage", "parameters", "evaluate_config", "attachments")
    if newest is None or any(getattr(newest, key) != values[key] for key in told):
        return None

    def content(stages: Sequence[StageRecord]) -> list[Any]:
        return [(stage.name, stage.metrics, stage.timestamp, stage.checksums) for stage in stages]

    return newest if content(newest.stages) == content(values["stages"]) else None


# ------------------------------------------------------------------------------------------------------------------ files


def _place(found: FoundModel, whole: Path, on_progress: Count) -> list[StageRecord]:
    """The files in ``whole``, read-only and on disk; the stages with their checksums."""
    copying = _Copying(sum(path.stat().st_size for stage in found.stages for path in stage.files.values()), on_progress)
    try:
        stages = [_place_stage(stage, whole, copying) for stage in found.stages]
        for section, paths in found.attachments.items():
            for path in paths:
                copying.copy(path, whole / "attachments" / section / path.name)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise RequestError(f"two of its files want the same place: {error.filename}", hint="Rename one of them.") from error
    except OSError as error:
        raise UnavailableError(f"the model cannot be copied: {error.strerror}", hint="Is the disk full?") from error
    sync_to_disk(whole)
    return stages


def _place_stage(stage: FoundStage, whole: Path, copying: _Copying) -> StageRecord:
    checksums, size_bytes = {}, 0
    for name, path in sorted(stage.files.items()):
        target = whole / stage.name / name
        size_bytes += copying.copy(path, target)
        checksums[name] = sha256(target)
    return StageRecord(stage.name, dict(stage.metrics), stage.timestamp, tuple(checksums), size_bytes, checksums)


class _Copying:
    """Copies files, counting what was really read against the limit."""

    def __init__(self, total_bytes: int, on_progress: Count) -> None:
        self.total_bytes = total_bytes
        self.on_progress = on_progress
        self.done_bytes = 0

    def copy(self, path: Path, target: Path) -> int:
        """The bytes of one file, with its time; never of a link or device that took its place meanwhile."""
        target.parent.mkdir(parents=True, exist_ok=True)
        before = self.done_bytes
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as content, target.open("xb") as file:  # noqa: PTH123 - of a descriptor
            while block := content.read(_BLOCK):
                self.done_bytes += len(block)
                if self.done_bytes > LIMITS.total_bytes:
                    raise RequestError(f"the model is larger than {LIMITS.total_bytes:,} bytes", hint="Is this the right folder?")
                file.write(block)
                self.on_progress(self.done_bytes, self.total_bytes)
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):
            shutil.copystat(path, target)
        target.chmod(0o444)
        return self.done_bytes - before
