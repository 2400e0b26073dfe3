"""What a Runner does with datasets and models."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.errors import ConflictError, DatasetError, RequestError
from registry import datasets, models
from runner.installation import Installation
from runner.models import export_model
from runner.references import parse_dataset_reference
from runner.views import model_view, time_view

Count = Callable[[int, "int | None"], None]


def _quiet(*_: object) -> None:
    pass


class DatasetVerbs:
    """Part of ``runner.service.Runner``."""

    _installation: Installation

    def import_dataset(
        self,
        name: str,
        path: Path,
        *,
        format: str | None = None,  # noqa: A002 - the word of the domain
        split: str = "",
        on_progress: Count = _quiet,
    ) -> dict[str, Any]:
        """A new version from a folder or archive; the report names everything that was left out and why."""
        return self._import(name, path, format, split, on_progress, source=str(path))

    def sample_dataset(
        self,
        kind: str = "digits",
        name: str = "digits",
        *,
        train: int = 300,
        val: int = 60,
        test: int = 0,
        pool: int = 200,
        seed: int = 0,
        on_progress: Count = _quiet,
    ) -> dict[str, Any]:
        """Detection scenes made here, without a download; the same seed gives the same pictures."""
        from runner.samples import make_digits

        if kind != "digits":
            raise RequestError(f"there is no sample {kind!r}", hint="Known: digits.")
        with tempfile.TemporaryDirectory(prefix="sluice-", dir=self._installation.home) as folder:
            make_digits(Path(folder), train=train, val=val, test=test, pool=pool, seed=seed)
            return self._import(name, Path(folder), "voc", "", on_progress, source=f"sample digits, seed {seed}")

    def _import(self, name: str, folder: Path, format_name: str | None, split: str, on_progress: Count, source: str) -> dict[str, Any]:
        from runner.datasets import import_dataset

        parts = self._installation
        return import_dataset(
            name,
            folder,
            formats=parts.formats,
            store=parts.store,
            database=parts.database,
            home=parts.home,
            format_name=format_name,
            split=split,
            on_progress=on_progress,
            source_name=source,
        )

    def list_datasets(self) -> list[dict[str, Any]]:
        with self._installation.database.reading() as session:
            names = [dataset.name for dataset in datasets.list_datasets(session)]
        return [self.get_dataset(name, report=False) for name in names]

    def get_dataset(self, reference: str, *, report: bool = True) -> dict[str, Any]:
        wanted = parse_dataset_reference(reference)
        with self._installation.database.reading() as session:
            version = datasets.get_version(session, wanted.name, wanted.number)
            current = datasets.get_version(session, wanted.name)
            numbers = [f"V{v.number:03d}" for v in datasets.list_versions(session, wanted.name)]
        return dataset_view(self._installation, version, numbers, report, current=current.number == version.number)


class ModelVerbs:
    """Part of ``runner.service.Runner``."""

    _installation: Installation

    def list_models(self) -> list[dict[str, Any]]:
        with self._installation.database.reading() as session:
            return [model_view(model, self._installation.folder(model.folder)) for model in models.list_models(session)]

    def get_model(self, name: str) -> dict[str, Any]:
        with self._installation.database.reading() as session:
            model = models.get_model(session, name)
        return model_view(model, self._installation.folder(model.folder))

    def export_model(self, name: str, target: Path, *, overwrite: bool = False) -> dict[str, Any]:
        """The model with all its stages as a YMIR model package. A file that exists is only replaced when ``overwrite`` says so."""
        if target.exists() and not overwrite:
            raise ConflictError(f"{target} exists", hint="Name another file, or say --overwrite.")
        with self._installation.database.reading() as session:
            model = models.get_model(session, name)
        return export_model(self._installation.folder(model.folder), model, target)


def dataset_view(
    installation: Installation, version: datasets.VersionRecord, numbers: list[str], report: bool, *, current: bool
) -> dict[str, Any]:
    return {
        "name": version.dataset,
        "version": version.version,
        "versions": numbers,
        "images": version.image_count,
        "annotations": version.annotation_count,
        "classes": list(version.class_names),
        "splits": dict(version.splits),
        "object_type": version.object_type,
        "source": version.source,
        "folder": str(installation.folder(version.folder)),
        "created_at": time_view(version.created_at),
        **({"report": _read_json(installation.folder(version.folder) / "report.json")} if report else {}),
        "current": current,
        "states": dict(version.statistics.get("states", {})),
        "hard": version.statistics.get("hard", 0),
        "inputs": list(version.inputs),
        "operation": version.operation,
        "changes": dict(version.changes),
        "content_hash": version.content_hash,
    }


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror}", hint="The version's folder was changed from outside.") from error
