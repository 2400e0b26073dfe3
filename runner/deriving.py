"""Makes a new version of a dataset by an operation on one that is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.dataset import Asset
from contracts.errors import DatasetError, RequestError
from contracts.operations import Operation
from contracts.results import MinedPicture
from contracts.seams import ClassNames
from registry import datasets, jobs
from registry.dataset_classes import DatasetClass, list_classes, names_by_alias
from registry.datasets import VersionRecord
from registry.lookup import check_folder_name
from runner.asset_lock import adding_assets
from runner.datasets import with_new_classes
from runner.export_predictions import prediction_of
from runner.installation import Installation
from runner.mined import read_mined
from runner.operations import apply
from runner.operations.base import Given, Other, Outcome, Sources, with_class_names
from runner.publishing import Draft, changes_since, class_names_of, publish
from runner.references import parse_dataset_reference, stage_reference
from runner.tables import Tables, read_table, read_tables

if TYPE_CHECKING:
    from runner.analysis_files import AnalysisFiles


def derive(installation: Installation, reference: str, operation: Operation, into: str = "") -> dict[str, Any]:
    """The report of the new version. ``reference`` may name a split: then only its pictures are taken. ``into`` is another dataset, or a new one.

    Raises ``NotFoundError``, ``RequestError`` (what is asked for makes no sense here), ``DatasetError`` (nothing is left).
    """
    name = into or parse_dataset_reference(reference).name
    check_folder_name("dataset", name)
    with adding_assets(installation.home):
        version, tables = _read(installation, reference)
        given = _given(installation, version, tables, name)
        outcome = apply(given, operation)
        if not len(outcome.tables):
            raise DatasetError(f"{operation.op} of {reference} leaves no picture", hint="Ask for less: nothing was changed.")
        draft = _draft(name, version, given, outcome, operation)
        if outcome.tables.annotations is tables.annotations and not parse_dataset_reference(reference).split:
            draft = replace(draft, same_annotations=installation.folder(version.folder))
        return publish(draft, installation.database, installation.home)


def _read(installation: Installation, reference: str) -> tuple[VersionRecord, Tables]:
    wanted = parse_dataset_reference(reference)
    with installation.database.reading() as session:
        version = datasets.get_version(session, wanted.name, wanted.number)
    tables = read_tables(installation.folder(version.folder))
    if wanted.split:
        tables = tables.keep(np.asarray(pc.equal(tables.images["split"].cast(pa.string()), wanted.split)))
        if not len(tables):
            raise DatasetError(f"{version.reference} has no split {wanted.split!r}", hint=f"Its splits: {', '.join(version.splits)}.")
    return version, tables


def _given(installation: Installation, version: VersionRecord, tables: Tables, name: str) -> Given:
    """The version in the words of the dataset that is made: those of its own when it is new."""
    with installation.database.reading() as session:
        own = list_classes(session, version.dataset)
        classes = list_classes(session, name) or own
    classes = _with_all(classes, own, version.class_names)
    sources = Sources(
        version=lambda reference: _other(installation, reference),
        ranking=lambda job: _ranking(installation, job),
        mined=lambda job: _mined(installation, job),
        predictions=lambda job: _predictions(installation, job),
        hashes=lambda wanted: _measured(installation).hashes(_assets(wanted))[0],
        looks=lambda wanted: _measured(installation).looks(_assets(wanted)),
    )
    return Given(with_class_names(tables, names_by_alias(classes)), classes, sources)


def _with_all(classes: Sequence[DatasetClass], own: Sequence[DatasetClass], names: Sequence[str]) -> list[DatasetClass]:
    """Also what the version's dataset knows of its classes, and the names of a version that is older than the list of classes."""
    known = ClassNames((), {c.name: c.aliases for c in own}, {c.name: c.attributes for c in own})
    return with_new_classes(classes, names, known)


def _draft(name: str, version: VersionRecord, given: Given, outcome: Outcome, operation: Operation) -> Draft:
    tables = outcome.tables
    classes = list(given.classes if outcome.classes is None else outcome.classes)
    order = [known.name for known in classes]
    class_names = class_names_of(tables, order)
    asked = operation.model_dump(mode="json", exclude_defaults=True, exclude={"op"})
    return Draft(
        dataset=name,
        tables=tables,
        class_names=class_names,
        source=f"{operation.op} of {version.reference}",
        inputs=(version.reference, *outcome.inputs),
        operation={"op": operation.op, **asked, **outcome.facts},
        changes=changes_since(given.tables, tables, outcome.touched, exact=outcome.exact),
        classes=with_new_classes(classes, class_names, ClassNames(())),
        report={"skipped": [asdict(note) for note in outcome.notes]},
    )


# -------------------------------------------------------------------------------------------------- what operations name


def _other(installation: Installation, reference: str) -> Other:
    version, tables = _read(installation, reference)
    return Other(version.reference, tables)


def _mining_result(installation: Installation, reference: str) -> dict[str, Any]:
    with installation.database.reading() as session:
        result: dict[str, Any] = jobs.get_job(session, reference).result or {}
    return dict(result.get("mining", result))


def _mined(installation: Installation, reference: str) -> dict[str, MinedPicture]:
    """What a mining job said of its pictures; nothing for one whose image says no reasons."""
    file = _mining_result(installation, reference).get("reasons_file")
    return read_mined(Path(file)) if file else {}


def _ranking(installation: Installation, reference: str) -> list[str]:
    result = _mining_result(installation, reference)
    if "ranking_file" not in result:
        raise RequestError(f"the job {reference} has no ranking", hint="Only a mining job that succeeded has one.")
    ranking: list[str] = pa.parquet.read_table(result["ranking_file"])["asset"].to_pylist()
    return ranking


def _predictions(installation: Installation, reference: str) -> tuple[pa.Table, str]:
    """The table of what a job, or an import (``import-...``), predicted, and the model that did."""
    with installation.database.reading() as session:
        record = prediction_of(session, reference)
    return read_table(installation.folder(record.file)), stage_reference(record.model_name, record.stage_name)


def _measured(installation: Installation) -> AnalysisFiles:
    from runner.analysis_files import AnalysisFiles

    return AnalysisFiles(installation.home, installation.store)


def _assets(tables: Tables) -> list[Asset]:
    columns = (tables.images[name].to_pylist() for name in ("asset_id", "extension", "width", "height", "size_bytes"))
    return [Asset(*row) for row in zip(*columns, strict=True)]
