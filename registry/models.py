"""Models: what training jobs left or people imported, in versions that never change, with their stages. The files lie in each version's folder.

A reference is ``name`` (the newest version) or ``name@V0002``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session, selectinload

from contracts.errors import ConflictError, NotFoundError, RequestError
from contracts.image import Kind
from registry.lookup import check_folder_name, not_found
from registry.prepared import Prepared
from registry.tables import JobRow, ModelRow, PredictionRow, StageRow, now
from registry.versions import note_version, split_version, take_version, version_text, versioned

_MODELS: Any = ModelRow.__table__
_STAGE_ROWS: Any = StageRow.__table__
_NAMED = select(_MODELS).where(_MODELS.c.name == bindparam("name"))
_NEWEST = Prepared(_NAMED.order_by(_MODELS.c.version.desc()).limit(1))
_FIND = Prepared(_NAMED.where(_MODELS.c.version == bindparam("version")))
_STAGES = Prepared(select(_STAGE_ROWS).where(_STAGE_ROWS.c.model_id == bindparam("model_id")).order_by(_STAGE_ROWS.c.position))


@dataclass(frozen=True)
class StageRecord:
    """One checkpoint. ``files`` are names below the stage's folder; ``timestamp`` is in Unix seconds, 0 when it is not known.

    ``checksums``: sha256 by file name; None for a stage that was stored before there were any.
    """

    name: str
    metrics: dict[str, float]
    timestamp: int
    files: tuple[str, ...]
    size_bytes: int
    checksums: dict[str, str] | None = None


@dataclass(frozen=True)
class ModelRecord:
    """One version of a model. ``best_stage`` is the image's own choice; ``recommended`` a person's, None until somebody chose.

    ``origin`` says what it was made from: ``{"how": "training", ...}`` or ``{"how": "import", ...}``. ``image_name`` is '' for a model of no known
    image.
    """

    id: int
    name: str
    job_id: str | None
    image_name: str
    image_digest: str
    object_type: int
    class_names: tuple[str, ...]
    best_stage: str
    parameters: dict[str, Any]
    folder: str
    evaluate_config: dict[str, float]
    attachments: dict[str, Any]
    train_data: str | None
    val_data: str | None
    created_at: datetime
    stages: tuple[StageRecord, ...]
    recommended: str | None = None
    version: int = 1
    description: str = ""
    origin: dict[str, Any] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """``name@V0001``."""
        return versioned(self.name, self.version)

    @property
    def default_stage(self) -> str:
        """The stage that ``name`` without ``@stage`` means."""
        return self.recommended or self.best_stage

    @property
    def size_bytes(self) -> int:
        return sum(stage.size_bytes for stage in self.stages)

    def get_stage(self, name: str | None = None) -> StageRecord:
        """A stage, the default one for None. Raises ``NotFoundError`` listing the stages."""
        wanted = name or self.default_stage
        for stage in self.stages:
            if stage.name == wanted:
                return stage
        raise not_found("stage", wanted, [stage.name for stage in self.stages], f"sluice model show {self.reference}")


def add_model(
    session: Session,
    *,
    name: str,
    job_id: str | None = None,
    image_name: str,
    image_digest: str,
    object_type: int,
    class_names: Iterable[str],
    best_stage: str,
    parameters: Mapping[str, Any],
    folder: str,
    stages: Sequence[StageRecord],
    evaluate_config: Mapping[str, float] | None = None,
    attachments: Mapping[str, Any] | None = None,
    train_data: str | None = None,
    val_data: str | None = None,
    recommended: str | None = None,
    created_at: datetime | None = None,
    version: int | None = None,
    description: str = "",
    origin: Mapping[str, Any] | None = None,
) -> ModelRecord:
    """Store a version of a model with its stages; ``version`` None takes the next one.

    Raises ``ConflictError`` when the version is taken, ``RequestError`` when the best stage is none of them.
    """
    check_folder_name("model", name)
    _check_stages(stages, best_stage, recommended)
    version = take_version(session, name) if version is None else version
    note_version(session, name, version)
    if find_model(session, versioned(name, version)) is not None:
        raise ConflictError(f"{versioned(name, version)} is taken", hint="A model is never overwritten: take the next version.", name=name)
    row = ModelRow(
        name=name,
        version=version,
        description=description,
        origin=dict(origin or {}),
        job_id=job_id,
        image_name=image_name,
        image_digest=image_digest,
        object_type=int(object_type),
        class_names=list(class_names),
        best_stage=best_stage,
        recommended=recommended,
        parameters=dict(parameters),
        folder=folder,
        evaluate_config=dict(evaluate_config or {}),
        attachments=dict(attachments or {}),
        train_data=train_data,
        val_data=val_data,
        created_at=created_at or now(),
        stages=[_stage_row(position, stage) for position, stage in enumerate(stages)],
    )
    session.add(row)
    session.flush()
    return _record(row)


def get_model(session: Session, reference: str) -> ModelRecord:
    """The version that the reference means. Raises ``NotFoundError``."""
    found = find_model(session, reference)
    if found is None:
        raise _unknown(session, reference)
    return found


def find_model(session: Session, reference: str) -> ModelRecord | None:
    """As ``get_model``, or None."""
    name, version = split_version(reference)
    found = _NEWEST.run(session, name=name) if version is None else _FIND.run(session, name=name, version=version)
    row = found.first()
    return _record(row, _STAGES.run(session, model_id=row.id)) if row else None


def find_by_id(session: Session, id: int) -> ModelRecord | None:  # noqa: A002 - the word of the domain
    """The version by its row, whatever it is called now; None when it is gone. A number may be given to another model after that."""
    row = session.get(ModelRow, id)
    return _record(row) if row else None


def list_versions(session: Session, name: str) -> list[ModelRecord]:
    """Every version of the model, oldest first. Raises ``NotFoundError``."""
    rows = session.scalars(select(ModelRow).where(ModelRow.name == name).order_by(ModelRow.version)).all()
    if not rows:
        raise _unknown(session, name)
    return [_record(row) for row in rows]


def find_model_of_job(session: Session, job_id: str) -> ModelRecord | None:
    """The model that the job left, or None."""
    row = session.scalar(select(ModelRow).where(ModelRow.job_id == job_id).order_by(ModelRow.id).limit(1))
    return _record(row) if row else None


def list_models(session: Session) -> list[ModelRecord]:
    """Every model, newest first."""
    query = select(ModelRow).options(selectinload(ModelRow.stages)).order_by(ModelRow.created_at.desc(), ModelRow.id.desc())
    return [_record(row) for row in session.scalars(query)]


def recommend_stage(session: Session, reference: str, stage_name: str | None) -> ModelRecord:
    """Choose the stage that the model means without ``@stage``; None goes back to the image's own best."""
    row = _model_row(session, reference)
    if stage_name is not None:
        _record(row).get_stage(stage_name)
    row.recommended = stage_name
    session.flush()
    return _record(row)


def describe_model(session: Session, reference: str, description: str) -> ModelRecord:
    """Set what people say about the model."""
    row = _model_row(session, reference)
    row.description = description
    session.flush()
    return _record(row)


def rename_model(session: Session, name: str, new_name: str) -> list[ModelRecord]:
    """Give all versions of a model another name; their predictions follow. What ended jobs say of it stays as it was.

    Raises ``NotFoundError``, ``RequestError`` for a single version, and ``ConflictError`` where a reference would come to mean another thing than
    it did, and while an unfinished job uses one of the versions. What was renamed by mistake can be given its old name again.
    """
    check_folder_name("model", new_name)
    if "@" in name:
        hint = f"Name it without a version: {split_version(name)[0]}."
        raise RequestError(f"{name!r} names one version, and a name is of all versions", hint=hint, name=name)
    versions = list_versions(session, name)
    _refuse_used(session, [new_name, name, *(version.reference for version in versions)])
    if taken := next((version for version in versions if _is_taken(session, new_name, version)), None):
        raise ConflictError(
            f"{versioned(new_name, taken.version)} is, or was, another job or model", hint="Choose another name.", name=new_name
        )
    note_version(session, new_name, versions[-1].version)
    for version in versions:
        predicted = PredictionRow.model_name == version.reference
        session.execute(update(PredictionRow).where(predicted).values(model_name=versioned(new_name, version.version)))
    session.execute(update(ModelRow).where(ModelRow.name == name).values(name=new_name))
    session.expire_all()
    return list_versions(session, new_name)


def _is_taken(session: Session, name: str, model: ModelRecord) -> bool:
    """Whether this name and the model's number stand for something else: a model, another job than the one that made it, old predictions."""
    if find_model(session, name):
        return True
    job_id = session.scalar(select(JobRow.id).where(JobRow.name == name, JobRow.version == model.version))
    predicted = select(PredictionRow.id).where(PredictionRow.model_name == versioned(name, model.version)).limit(1)
    return job_id not in (None, model.job_id) or session.scalar(predicted) is not None


def remove_model(session: Session, reference: str, *, all_versions: bool = False) -> list[ModelRecord]:
    """Forget a version, or all; returns them, so that their folders can be removed after the commit. Their predictions stay.

    Raises ``NotFoundError``, and ``ConflictError`` while an unfinished job uses one and for a bare name that has several versions.
    """
    name, version = split_version(reference)
    versions = list_versions(session, name) if version is None else [get_model(session, reference)]
    if len(versions) > 1 and not all_versions:
        raise ConflictError(
            f"{name} has {len(versions)} versions: {', '.join(version_text(v.version) for v in versions[:8])}",
            hint=f"Name one, like {versions[-1].reference}, or say --all-versions.",
            name=name,
        )
    _refuse_used(session, [version.reference for version in versions])
    session.execute(delete(StageRow).where(StageRow.model_id.in_([version.id for version in versions])))
    session.execute(delete(ModelRow).where(ModelRow.id.in_([version.id for version in versions])))
    session.expire_all()
    return versions


def folder_owner(session: Session, folder: str) -> str | None:
    """The reference of the model whose files lie in this folder, relative to the home; None when it is nobody's."""
    row = session.execute(select(ModelRow.name, ModelRow.version).where(ModelRow.folder == folder)).first()
    return versioned(*row) if row else None


def _refuse_used(session: Session, references: Sequence[str]) -> None:
    """``references``: versions, and a bare name for whatever an unfinished training will leave under it."""
    unfinished = session.execute(
        select(JobRow.id, JobRow.name, JobRow.kind, JobRow.plan).where(JobRow.end_reason.is_(None)).order_by(JobRow.id)
    )
    users = [
        job_id
        for job_id, name, kind, plan in unfinished
        if plan.get("model") in references or (kind == Kind.TRAINING.value and name in references)
    ]
    if users:
        raise ConflictError(
            f"the model {references[-1]} is used by unfinished jobs: {', '.join(users[:5])}",
            hint=f"Wait for them, or `sluice job cancel {users[0]}`.",
            jobs=users,
        )


def _check_stages(stages: Sequence[StageRecord], best_stage: str, recommended: str | None) -> None:
    names = [stage.name for stage in stages]
    if len(set(names)) != len(names):
        raise RequestError(f"two stages have the same name: {', '.join(names)}", hint="Stage names must differ.")
    for wanted in filter(None, (best_stage, recommended)):
        if wanted not in names:
            raise NotFoundError(f"the stage {wanted!r} is not one of the model's stages", hint=f"It has {', '.join(names) or 'none'}.")


def _stage_row(position: int, stage: StageRecord) -> StageRow:
    # The time is the image's own word, any number at all; one no database can hold is as good as none.
    timestamp = stage.timestamp if abs(stage.timestamp) < 2**63 else 0
    return StageRow(
        position=position,
        name=stage.name,
        metrics=dict(stage.metrics),
        timestamp=timestamp,
        files=list(stage.files),
        size_bytes=stage.size_bytes,
        checksums=None if stage.checksums is None else dict(stage.checksums),
    )


def _model_row(session: Session, reference: str) -> ModelRow:
    row = session.get(ModelRow, get_model(session, reference).id)
    if row is None:
        raise _unknown(session, reference)
    return row


def _unknown(session: Session, reference: str) -> NotFoundError:
    name, version = split_version(reference)
    if version is not None and (newest := find_model(session, name)):
        hint = f"Its newest is {newest.reference}; `sluice model list` shows all."
        return NotFoundError(f"the model {name!r} has no version {version_text(version)}", hint=hint, noun="model", name=reference)
    return not_found("model", reference, session.scalars(select(ModelRow.name).distinct()), "sluice model list")


def _record(row: Any, stages: Iterable[Any] | None = None) -> ModelRecord:
    """Of a row with the columns of ``ModelRow``, and its stages in their order where the row does not have them."""
    return ModelRecord(
        id=row.id,
        name=row.name,
        job_id=row.job_id,
        image_name=row.image_name,
        image_digest=row.image_digest,
        object_type=row.object_type,
        class_names=tuple(row.class_names),
        best_stage=row.best_stage,
        parameters=dict(row.parameters),
        folder=row.folder,
        evaluate_config=dict(row.evaluate_config),
        attachments=dict(row.attachments),
        train_data=row.train_data,
        val_data=row.val_data,
        created_at=row.created_at,
        stages=tuple(
            StageRecord(s.name, dict(s.metrics), s.timestamp, tuple(s.files), s.size_bytes, s.checksums)
            for s in (row.stages if stages is None else stages)
        ),
        recommended=row.recommended,
        version=row.version,
        description=row.description,
        origin=dict(row.origin),
    )
