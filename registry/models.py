"""Models: what training jobs left, with their stages. The files lie in each model's folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session, selectinload

from contracts.errors import ConflictError, NotFoundError, RequestError
from registry.lookup import check_folder_name, not_found
from registry.prepared import Prepared
from registry.tables import JobRow, ModelRow, StageRow, now

_MODELS: Any = ModelRow.__table__
_STAGE_ROWS: Any = StageRow.__table__
_FIND = Prepared(select(_MODELS).where(_MODELS.c.name == bindparam("name")))
_STAGES = Prepared(select(_STAGE_ROWS).where(_STAGE_ROWS.c.model_id == bindparam("model_id")).order_by(_STAGE_ROWS.c.position))


@dataclass(frozen=True)
class StageRecord:
    """One checkpoint. ``files`` are names below the stage's folder; ``timestamp`` is in Unix seconds, 0 when it is not known."""

    name: str
    metrics: dict[str, float]
    timestamp: int
    files: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True)
class ModelRecord:
    """One model. ``best_stage`` is the image's own choice; ``recommended`` a person's, None until somebody chose."""

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
        raise not_found("stage", wanted, [stage.name for stage in self.stages], f"sluice model show {self.name}")


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
) -> ModelRecord:
    """Store a model with its stages. Raises ``ConflictError`` when the name is taken, ``RequestError`` when the best stage is none of them."""
    check_folder_name("model", name)
    _check_stages(stages, best_stage, recommended)
    if find_model(session, name) is not None:
        raise ConflictError(f"the model name {name!r} is taken", hint="Choose another name.", name=name)
    row = ModelRow(
        name=name,
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


def get_model(session: Session, name: str) -> ModelRecord:
    """The model of that name. Raises ``NotFoundError``."""
    found = find_model(session, name)
    if found is None:
        raise _unknown(session, name)
    return found


def find_model(session: Session, name: str) -> ModelRecord | None:
    row = _FIND.run(session, name=name).first()
    return _record(row, _STAGES.run(session, model_id=row.id)) if row else None


def find_model_of_job(session: Session, job_id: str) -> ModelRecord | None:
    """The model that the job left, or None."""
    row = session.scalar(select(ModelRow).where(ModelRow.job_id == job_id).order_by(ModelRow.id).limit(1))
    return _record(row) if row else None


def list_models(session: Session) -> list[ModelRecord]:
    """Every model, newest first."""
    query = select(ModelRow).options(selectinload(ModelRow.stages)).order_by(ModelRow.created_at.desc(), ModelRow.id.desc())
    return [_record(row) for row in session.scalars(query)]


def recommend_stage(session: Session, name: str, stage_name: str | None) -> ModelRecord:
    """Choose the stage that the bare model name means; None goes back to the image's own best."""
    row = _model_row(session, name)
    if stage_name is not None:
        _record(row).get_stage(stage_name)
    row.recommended = stage_name
    session.flush()
    return _record(row)


def remove_model(session: Session, name: str) -> ModelRecord:
    """Forget the model; returns it, so that its folder can be removed after the commit. Its predictions stay.

    Raises ``NotFoundError``, and ``ConflictError`` while an unfinished job uses it.
    """
    row = _model_row(session, name)
    unfinished = session.execute(select(JobRow.id, JobRow.spec).where(JobRow.end_reason.is_(None)).order_by(JobRow.id))
    users = [job_id for job_id, spec in unfinished if (spec.get("model") or "").split("@")[0] == name]
    if users:
        raise ConflictError(
            f"the model {name!r} is used by unfinished jobs: {', '.join(users[:5])}",
            hint=f"Wait for them, or `sluice job cancel {users[0]}`.",
            jobs=users,
        )
    record = _record(row)
    session.delete(row)
    session.flush()
    return record


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
    )


def _model_row(session: Session, name: str) -> ModelRow:
    row = session.scalar(select(ModelRow).where(ModelRow.name == name))
    if row is None:
        raise _unknown(session, name)
    return row


def _unknown(session: Session, name: str) -> NotFoundError:
    return not_found("model", name, session.scalars(select(ModelRow.name)), "sluice model list")


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
            StageRecord(s.name, dict(s.metrics), s.timestamp, tuple(s.files), s.size_bytes)
            for s in (row.stages if stages is None else stages)
        ),
        recommended=row.recommended,
    )
