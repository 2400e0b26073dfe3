"""The files of stored models: where they lie, what they hash to, and whether they are still what they were."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from contracts.errors import RequestError
from registry import models
from registry.models import ModelRecord, StageRecord
from registry.versions import versioned
from runner.run_dir import sync_to_disk

_BLOCK = 1024**2


def plain_folder(name: str, version: int) -> str:
    """Where the files of a model lie below the home, unless a renamed one has the place."""
    return f"models/{name}" if version == 1 else f"models/{versioned(name, version)}"


def model_folder(session: Session, name: str, version: int, tie_break: str) -> str:
    """A folder below the home that no other model owns: a model that was renamed keeps its own."""
    folder = plain_folder(name, version)
    return folder if models.folder_owner(session, folder) is None else f"{folder}-{tie_break}"


def show_folder(aside: Path, folder: Path) -> None:
    """Gives a folder its place. One there without a row is left from a process that was killed here; it is replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    sync_to_disk(folder.parent)


def checksums_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The sha256 of each file by its name below the folder, in the order of names."""
    return {name: sha256(folder / name) for name in sorted(names)}


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def examine(folder: Path, model: ModelRecord, stages: Iterable[str] | None = None) -> dict[str, Any]:
    """``{"files", "bytes", "faults": [{stage, file, fault}], "unknown"}``. ``fault``: missing, changed; ``unknown`` counts files without a checksum.

    ``stages`` None examines all of them.
    """
    chosen = [stage for stage in model.stages if stages is None or stage.name in stages]
    faults = [fault for stage in chosen for fault in _faults(folder / stage.name, stage)]
    unknown = sum(len(stage.files) for stage in chosen if stage.checksums is None)
    files, size_bytes = sum(len(stage.files) for stage in chosen), sum(stage.size_bytes for stage in chosen)
    return {"model": model.reference, "files": files, "bytes": size_bytes, "unknown": unknown, "faults": faults}


def refuse_changed(folder: Path, model: ModelRecord, stages: Iterable[str] | None = None) -> None:
    """Raises ``RequestError`` naming the first file that is not what was stored."""
    faults = examine(folder, model, stages)["faults"]
    if faults:
        first = faults[0]
        raise RequestError(
            f"the file {first['file']} of {model.reference}@{first['stage']} is {first['fault']}",
            hint=f"{len(faults)} of its files are not what was stored: sluice model check {model.reference}",
            faults=faults,
        )


def _faults(folder: Path, stage: StageRecord) -> list[dict[str, str]]:
    found = []
    for name in stage.files:
        path = folder / name
        if not path.is_file() or path.is_symlink():
            found.append({"stage": stage.name, "file": name, "fault": "missing"})
        elif stage.checksums and sha256(path) != stage.checksums.get(name):
            found.append({"stage": stage.name, "file": name, "fault": "changed"})
    return found
