"""Datasets: named lines of immutable versions. The pictures and annotations lie in each version's folder; here is what is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, case, delete, func, select
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, NotFoundError
from contracts.image import ObjectType
from registry.lookup import check_folder_name, not_found
from registry.prepared import Prepared
from registry.tables import DatasetRow, JobRow, VersionRow, now

_VERSIONS: Any = VersionRow.__table__
_DATASETS: Any = DatasetRow.__table__
_NAMED = select(_VERSIONS).join(_DATASETS, _VERSIONS.c.dataset_id == _DATASETS.c.id).where(_DATASETS.c.name == bindparam("name"))
_IS_CURRENT = case((_VERSIONS.c.number == _DATASETS.c.current_number, 1), else_=0)
_CURRENT = Prepared(_NAMED.order_by(_IS_CURRENT.desc(), _VERSIONS.c.number.desc()).limit(1))
_FIND = Prepared(_NAMED.where(_VERSIONS.c.number == bindparam("number")))


@dataclass(frozen=True)
class VersionRecord:
    """One immutable version. ``splits`` maps a split's name ('' for none) to its number of pictures; ``parent`` is a version's number.

    ``inputs`` are the references it was made of, ``operation`` what was done to them (None: an import), ``changes`` how many pictures were
    added, changed and deleted since the first of them. ``statistics``: pictures by state, hard ones, annotations by class.
    """

    dataset: str
    number: int
    folder: str
    created_at: datetime
    image_count: int
    annotation_count: int
    class_names: tuple[str, ...]
    splits: dict[str, int]
    object_type: int
    content_hash: str
    parent: int | None = None
    source: Any = None
    job_id: str | None = None
    inputs: tuple[str, ...] = ()
    operation: Any = None
    changes: Mapping[str, int] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """``V001``."""
        return f"V{self.number:03d}"

    @property
    def reference(self) -> str:
        """``name@V001``."""
        return f"{self.dataset}@{self.version}"


@dataclass(frozen=True)
class DatasetRecord:
    """A dataset with its newest version."""

    name: str
    created_at: datetime
    version_count: int
    latest: VersionRecord


def next_number(session: Session, name: str) -> int:
    """The number the next version will have: 1 for a new dataset. Sure only inside the same write transaction as ``add_version``."""
    check_folder_name("dataset", name)
    return (session.scalar(select(DatasetRow.highest_number).where(DatasetRow.name == name)) or 0) + 1


def add_version(
    session: Session,
    *,
    dataset: str,
    number: int | None = None,
    folder: str,
    image_count: int,
    annotation_count: int,
    class_names: Iterable[str],
    splits: Mapping[str, int],
    object_type: int = ObjectType.DETECTION,
    content_hash: str = "",
    parent: int | None = None,
    source: Any = None,
    job_id: str | None = None,
    created_at: datetime | None = None,
    inputs: Iterable[str] = (),
    operation: Any = None,
    changes: Mapping[str, int] | None = None,
    statistics: Mapping[str, Any] | None = None,
) -> VersionRecord:
    """Store a version, which becomes the current one; the dataset is made with its first. ``number`` None takes the next.

    Raises ``ConflictError`` when another writer took the number first.
    """
    number = next_number(session, dataset) if number is None else number
    moment = created_at or now()
    if find_version(session, dataset, number) is not None:
        raise ConflictError(f"{dataset}@V{number:03d} exists already", hint="Versions never change: store it under the next number.")
    owner = _ensure_dataset(session, dataset, moment)
    owner.current_number = None
    owner.highest_number = max(owner.highest_number, number)
    row = VersionRow(
        dataset_id=owner.id,
        number=number,
        folder=folder,
        image_count=image_count,
        annotation_count=annotation_count,
        class_names=list(class_names),
        splits=dict(splits),
        object_type=int(object_type),
        content_hash=content_hash,
        parent=parent,
        source=source,
        job_id=job_id,
        created_at=moment,
        inputs=list(inputs),
        operation=operation,
        changes=dict(changes or {}),
        statistics=dict(statistics or {}),
    )
    session.add(row)
    session.flush()
    return _record(dataset, row)


def get_version(session: Session, name: str, number: int | None = None) -> VersionRecord:
    """A version, the current one when ``number`` is None. Raises ``NotFoundError``."""
    version = find_version(session, name, number)
    if version is not None:
        return version
    numbers = [v.version for v in list_versions(session, name)]
    raise NotFoundError(
        f"dataset {name!r} has no version V{number or 0:03d}", hint=f"It has {_range(numbers)}; `sluice dataset show {name}` tells more."
    )


def find_version(session: Session, name: str, number: int | None = None) -> VersionRecord | None:
    """As ``get_version``, or None."""
    found = _CURRENT.run(session, name=name) if number is None else _FIND.run(session, name=name, number=number)
    row = found.first()
    return _record(name, row) if row else None


def list_versions(session: Session, name: str) -> list[VersionRecord]:
    """Every version of the dataset, oldest first. Raises ``NotFoundError``."""
    dataset = _dataset_row(session, name)
    rows = session.scalars(select(VersionRow).where(VersionRow.dataset_id == dataset.id).order_by(VersionRow.number))
    return [_record(name, row) for row in rows]


def list_datasets(session: Session) -> list[DatasetRecord]:
    """Every dataset with its newest version, by name."""
    newest = select(VersionRow.dataset_id, func.max(VersionRow.number).label("number"), func.count().label("versions"))
    newest_by_dataset = newest.group_by(VersionRow.dataset_id).subquery()
    query = (
        select(DatasetRow, VersionRow, newest_by_dataset.c.versions)
        .join(newest_by_dataset, newest_by_dataset.c.dataset_id == DatasetRow.id)
        .join(VersionRow, (VersionRow.dataset_id == DatasetRow.id) & (VersionRow.number == newest_by_dataset.c.number))
        .order_by(DatasetRow.name)
    )
    return [DatasetRecord(d.name, d.created_at, count, _record(d.name, v)) for d, v, count in session.execute(query)]


def remove_dataset(session: Session, name: str) -> list[VersionRecord]:
    """Forget the dataset with all versions; returns them, so that their folders can be removed after the commit.

    Raises ``NotFoundError``, and ``ConflictError`` while an unfinished job reads it.
    """
    versions = list_versions(session, name)
    users = _unfinished_jobs_on(session, name)
    if users:
        raise ConflictError(
            f"dataset {name!r} is read by unfinished jobs: {', '.join(users[:5])}",
            hint=f"Wait for them, or `sluice job cancel {users[0]}`.",
            jobs=users,
        )
    row = _dataset_row(session, name)
    session.delete(row)
    session.flush()
    return versions


def set_current(session: Session, name: str, number: int) -> VersionRecord:
    """Let the dataset's name alone mean this version until a new one is made. Raises ``NotFoundError``."""
    version = get_version(session, name, number)
    _dataset_row(session, name).current_number = number
    session.flush()
    return version


def remove_version(session: Session, name: str, number: int) -> VersionRecord:
    """Forget one version; returns it, so that its folder can be removed after the commit. Its number is never given again.

    Raises ``NotFoundError``, and ``ConflictError`` for the only one or while an unfinished job reads it.
    """
    version = get_version(session, name, number)
    if len(list_versions(session, name)) == 1:
        raise ConflictError(f"{version.reference} is the only version of {name}", hint=f"Remove the dataset: sluice dataset remove {name}.")
    if users := _unfinished_jobs_on(session, name):
        raise ConflictError(f"dataset {name!r} is read by unfinished jobs: {', '.join(users[:5])}", hint="Wait for them.", jobs=users)
    dataset = _dataset_row(session, name)
    dataset.current_number = None if dataset.current_number == number else dataset.current_number
    session.execute(delete(VersionRow).where(VersionRow.dataset_id == dataset.id, VersionRow.number == number))
    return version


def _ensure_dataset(session: Session, name: str, moment: datetime) -> DatasetRow:
    check_folder_name("dataset", name)
    row = session.scalar(select(DatasetRow).where(DatasetRow.name == name))
    if row is None:
        row = DatasetRow(name=name, created_at=moment, highest_number=0)
        session.add(row)
        session.flush()
    return row


def _dataset_row(session: Session, name: str) -> DatasetRow:
    row = session.scalar(select(DatasetRow).where(DatasetRow.name == name))
    if row is None:
        raise not_found("dataset", name, session.scalars(select(DatasetRow.name)), "sluice dataset list")
    return row


def _unfinished_jobs_on(session: Session, name: str) -> list[str]:
    """What a request names, and what the training of the model that a mining reads was given."""
    jobs = session.execute(select(JobRow.id, JobRow.spec, JobRow.plan).where(JobRow.end_reason.is_(None)).order_by(JobRow.id))
    return [job_id for job_id, spec, plan in jobs if name in {_dataset_of(text) for text in _named_data(spec, plan)}]


def _named_data(spec: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str | None]:
    return [*(spec.get(key) for key in ("train_data", "val_data", "data", "training_data")), plan.get("train")]


def _dataset_of(reference: str | None) -> str:
    """The name in ``name[@V002][:split]``."""
    return (reference or "").split("@")[0].split(":")[0]


def _range(versions: list[str]) -> str:
    return versions[0] if len(versions) == 1 else f"{versions[0]} to {versions[-1]}"


def _record(dataset: str, row: Any) -> VersionRecord:
    """Of a row with the columns of ``VersionRow``, however it was read."""
    return VersionRecord(
        dataset=dataset,
        number=row.number,
        folder=row.folder,
        created_at=row.created_at,
        image_count=row.image_count,
        annotation_count=row.annotation_count,
        class_names=tuple(row.class_names),
        splits=dict(row.splits),
        object_type=row.object_type,
        content_hash=row.content_hash,
        parent=row.parent,
        source=row.source,
        job_id=row.job_id,
        inputs=tuple(row.inputs),
        operation=row.operation,
        changes=dict(row.changes),
        statistics=dict(row.statistics),
    )
