"""What a Runner does with datasets."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.errors import DatasetError, RequestError
from registry import datasets
from runner.installation import Installation
from runner.references import parse_dataset_reference
from runner.views import time_view

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
            numbers = [f"V{v.number:03d}" for v in datasets.list_versions(session, wanted.name)]
        return dataset_view(self._installation, version, numbers, report)


def dataset_view(installation: Installation, version: datasets.VersionRecord, numbers: list[str], report: bool) -> dict[str, Any]:
    view: dict[str, Any] = {
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
    }
    if report:
        file = installation.folder(version.folder) / "report.json"
        view["report"] = _read_json(file)
    return view


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror}", hint="The version's folder was changed from outside.") from error
