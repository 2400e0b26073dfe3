"""What a Runner does with datasets."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import DatasetError, RequestError
from registry import dataset_classes, datasets
from runner.installation import Installation
from runner.references import DatasetReference, parse_dataset_reference
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
        path: Path | str,
        *,
        format: str | None = None,  # noqa: A002 - the word of the domain
        split: str = "",
        connection: str = "",
        unknown_classes: str = "add",
        add: bool = False,
        verify: bool = False,
        class_names: Sequence[str] = (),
        hard_only: bool = False,
        on_progress: Count = _quiet,
    ) -> dict[str, Any]:
        """A new version from a folder, an archive or an address (s3://, obs://, http://, https://); the report names what was left out and why.

        ``connection``: how s3:// and obs:// are reached, here and inside the source; '' chooses one by the bucket. ``unknown_classes``: ``add``,
        ``ignore`` or ``stop`` at annotations of classes that the dataset does not know yet. ``add``: what the current version has, plus
        what is new in the source. ``verify``: decode every picture. ``class_names``: only annotations of these classes, by any of their
        names, and the pictures that have any; ``hard_only``: only pictures that are marked as hard.
        """
        from runner.sources import opened, shown_source

        with opened(self._installation, path, connection, on_progress) as source:
            how: dict[str, Any] = {"unknown_classes": unknown_classes, "add": add, "verify": verify}
            how |= {"class_names": tuple(class_names), "hard_only": hard_only}
            how |= {"locate": source.locate, "left_out": source.left_out}
            return self._import(name, source.folder, format, split, on_progress, source=shown_source(path), **how)

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
        """Detection scenes (``digits``) or single digits with a label (``digit-classes``) made here, without a download; the same seed gives the
        same pictures.
        """
        from runner.samples import SAMPLES

        if kind not in SAMPLES:
            raise RequestError(f"there is no sample {kind!r}", hint=f"Known: {', '.join(SAMPLES)}.")
        sample = SAMPLES[kind]
        with tempfile.TemporaryDirectory(prefix="sluice-", dir=self._installation.home) as folder:
            sample.make(Path(folder), train=train, val=val, test=test, pool=pool, seed=seed)
            return self._import(name, Path(folder), sample.format, "", on_progress, source=f"sample {kind}, seed {seed}")

    def _import(
        self,
        name: str,
        folder: Path,
        format_name: str | None,
        split: str,
        on_progress: Count,
        source: str,
        *,
        unknown_classes: str = "add",
        add: bool = False,
        verify: bool = False,
        class_names: tuple[str, ...] = (),
        hard_only: bool = False,
        **extra: Any,
    ) -> dict[str, Any]:
        from runner.datasets import Rules, import_dataset
        from runner.intake import PictureRules

        parts = self._installation
        pictures = PictureRules(parts.settings.max_picture_bytes, verify)
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
            rules=Rules(unknown_classes, add, pictures, class_names, hard_only),
            **extra,
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

    def derive_dataset(self, reference: str, operation: Mapping[str, Any], *, into: str = "") -> dict[str, Any]:
        """A new version by an operation (``contracts.operations``) on one, or on one split of it; of the dataset ``into`` when it is named."""
        from contracts.operations import parse_operation
        from runner.deriving import derive

        return derive(self._installation, reference, parse_operation(operation), into)

    def list_dataset_versions(self, name: str) -> list[dict[str, Any]]:
        """Newest first."""
        with self._installation.database.reading() as session:
            found = datasets.list_versions(session, name)
            current = datasets.get_version(session, name).number
        numbers = [version.version for version in found]
        return [dataset_view(self._installation, v, numbers, report=False, current=v.number == current) for v in reversed(found)]

    def set_current_version(self, reference: str) -> dict[str, Any]:
        """Let the dataset's name alone mean this version, until a new one is made."""
        wanted = _one_version(reference)
        with self._installation.database.writing() as session:
            datasets.set_current(session, wanted.name, wanted.number or 0)
        return self.get_dataset(reference, report=False)

    def remove_dataset(self, reference: str) -> dict[str, Any]:
        """Forget a dataset or, when a version is named, that one. Refused while an unfinished job reads it. Files stay until gc."""
        wanted = parse_dataset_reference(reference)
        if wanted.split:
            raise RequestError(
                f"{reference!r} names a split", hint="Name a dataset or a version; sluice dataset filter leaves out a split."
            )
        with self._installation.database.writing() as session:
            if wanted.number is None:
                removed = datasets.remove_dataset(session, wanted.name)
            else:
                removed = [datasets.remove_version(session, wanted.name, wanted.number)]
        return {"removed": [version.reference for version in removed]}

    def list_dataset_classes(self, name: str) -> list[dict[str, Any]]:
        """Every class that a version of the dataset had, under its present name."""
        with self._installation.database.reading() as session:
            datasets.get_version(session, name)
            return [class_view(known) for known in dataset_classes.list_classes(session, name)]

    def set_dataset_class(
        self, name: str, class_name: str, *, aliases: Sequence[str] = (), color: str | None = None
    ) -> list[dict[str, Any]]:
        """More names for a class, and its colour; a class that is not known yet is added. Older versions do not change."""
        with self._installation.database.writing() as session:
            datasets.get_version(session, name)
            dataset_classes.extend_class(session, name, class_name, aliases, color)
            return [class_view(known) for known in dataset_classes.list_classes(session, name)]


def _one_version(reference: str) -> DatasetReference:
    wanted = parse_dataset_reference(reference)
    if wanted.number is None or wanted.split:
        raise RequestError(f"{reference!r} names no version", hint="Write NAME@V002.")
    return wanted


def class_view(known: dataset_classes.DatasetClass) -> dict[str, Any]:
    return {"name": known.name, "aliases": list(known.aliases), "attributes": dict(known.attributes)}


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
    """The object in a version's file. Raises ``DatasetError`` when it is missing, cut or something else."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
        reason = "it holds no object"
    except (OSError, ValueError) as error:
        reason = str(error.strerror if isinstance(error, OSError) else error)
    from runner.tables import CHANGED_FROM_OUTSIDE

    raise DatasetError(f"{file} cannot be read: {reason}", hint=CHANGED_FROM_OUTSIDE)
