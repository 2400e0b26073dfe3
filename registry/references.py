"""What the rows say is still needed on disk and in the engines, read by columns alone: what nothing refers to can be freed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.tables import DatasetRow, EvaluationRow, ImageDigestRow, ImageRow, JobRow, ModelRow, PredictionRow, VersionRow


@dataclass(frozen=True)
class JobEnd:
    """``ended_at`` None: it has not ended. ``cleaned``: its container and lease are gone, too. ``has_result``: it left something."""

    ended_at: datetime | None
    cleaned: bool
    has_result: bool


@dataclass(frozen=True)
class VersionFolder:
    """A dataset version with its folder relative to the home."""

    reference: str
    folder: str
    content_hash: str


@dataclass(frozen=True)
class ImageUses:
    """Images by digest. ``needed``: a registered image, or an unfinished job, is pinned to it. ``known``: every digest that a name, job or
    model of this registry was ever pinned to, with the references it had then. ``engines``: those that images or jobs name.
    """

    needed: frozenset[str]
    known: Mapping[str, frozenset[str]]
    engines: tuple[str, ...]


def job_ends(session: Session) -> dict[str, JobEnd]:
    """Every job by id."""
    columns = select(JobRow.id, JobRow.ended_at, JobRow.end_reason, JobRow.cleaned_at, JobRow.result.is_not(None))
    return {
        job_id: JobEnd(ended_at if end_reason else None, cleaned_at is not None, has_result)
        for job_id, ended_at, end_reason, cleaned_at, has_result in session.execute(columns)
    }


def version_folders(session: Session) -> list[VersionFolder]:
    """Every version of every dataset, by name and number."""
    columns = select(DatasetRow.name, VersionRow.number, VersionRow.folder, VersionRow.content_hash)
    rows = session.execute(columns.join(DatasetRow, VersionRow.dataset_id == DatasetRow.id).order_by(DatasetRow.name, VersionRow.number))
    return [VersionFolder(f"{name}@V{number:03d}", folder, content_hash) for name, number, folder, content_hash in rows]


def model_folders(session: Session) -> frozenset[str]:
    """The folders of all models, relative to the home."""
    return frozenset(session.scalars(select(ModelRow.folder)))


def prediction_files(session: Session) -> frozenset[str]:
    """The files of all predictions, relative to the home."""
    return frozenset(session.scalars(select(PredictionRow.file)))


def evaluation_folders(session: Session) -> frozenset[str]:
    """The folders of all evaluations, relative to the home."""
    return frozenset(session.scalars(select(EvaluationRow.folder)))


def image_uses(session: Session) -> ImageUses:
    unfinished = select(JobRow.image_digest).where(JobRow.end_reason.is_(None))
    needed = {*session.scalars(select(ImageRow.digest)), *session.scalars(unfinished)}
    known: defaultdict[str, set[str]] = defaultdict(set)
    for columns in (
        select(ImageDigestRow.digest, ImageDigestRow.reference),
        select(JobRow.image_digest, JobRow.image_reference).distinct(),
    ):
        for digest, reference in session.execute(columns):
            known[digest].add(reference)
    for digest in session.scalars(select(ModelRow.image_digest).distinct()):
        known[digest].update()
    engines = {*session.scalars(select(ImageRow.engine)), *session.scalars(select(JobRow.engine).distinct())}
    return ImageUses(frozenset(needed), {digest: frozenset(names) for digest, names in known.items()}, tuple(sorted(engines)))
