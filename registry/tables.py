"""The tables. Portable between SQLite and PostgreSQL: no type or default that only one of them knows.

Times are aware and UTC. Columns of type ``FreeJson`` hold free-form data. ``job_id`` in datasets, models and predictions says where a thing
came from; it is no foreign key, because the thing outlives the job's row.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, DateTime, Float, ForeignKey, Index, MetaData, String, Text, UniqueConstraint
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from contracts.errors import InternalError
from registry.free_json import decode, encode


def now() -> datetime:
    """This moment, aware, in UTC."""
    return datetime.now(timezone.utc)


class UtcTime(TypeDecorator[datetime]):
    """An aware time, kept and given back in UTC. SQLite keeps no zone, so it is taken off and put on here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise InternalError(f"a time without a zone was given to the registry: {value.isoformat()}")
        in_utc = value.astimezone(timezone.utc)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


class FreeJson(TypeDecorator[Any]):
    """Free-form data (``registry.free_json``); None is SQL NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        return encode(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        return decode(value)


class Base(DeclarativeBase):
    """Names every constraint, so that a later migration can speak of it on any database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ImageRow(Base):
    __tablename__ = "images"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    reference: Mapped[str] = mapped_column(Text)
    engine: Mapped[str] = mapped_column(String(100))
    dialect: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(200), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    profile: Mapped[str] = mapped_column(String(50))
    allow: Mapped[Any] = mapped_column(FreeJson)
    # ``metadata`` is taken by SQLAlchemy on the class; the column has the domain's name.
    declared: Mapped[Any] = mapped_column("metadata", FreeJson)
    labels: Mapped[Any] = mapped_column(FreeJson)
    registered_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)


class ImageDigestRow(Base):
    """What an image's name has pointed to, oldest first by id; the newest is the image's present digest."""

    __tablename__ = "image_digests"

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), index=True)
    reference: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(200))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    recorded_at: Mapped[datetime] = mapped_column(UtcTime)


class LinkRow(Base):
    __tablename__ = "links"
    __table_args__ = (UniqueConstraint("training_image_id", "image_id", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    training_image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(50))
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class DatasetRow(Base):
    """``current_number``: the version that the dataset's name alone means, None for the newest. ``highest_number``: of every version it ever
    had, so that the number of one that was removed never means another.
    """

    __tablename__ = "datasets"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    current_number: Mapped[int | None]
    highest_number: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class VersionRow(Base):
    __tablename__ = "dataset_versions"
    __table_args__ = (UniqueConstraint("dataset_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    number: Mapped[int]
    folder: Mapped[str] = mapped_column(Text)
    image_count: Mapped[int] = mapped_column(BigInteger)
    annotation_count: Mapped[int] = mapped_column(BigInteger)
    class_names: Mapped[Any] = mapped_column(FreeJson)
    splits: Mapped[Any] = mapped_column(FreeJson)
    object_type: Mapped[int]
    content_hash: Mapped[str] = mapped_column(String(200), index=True)
    parent: Mapped[int | None]
    source: Mapped[Any] = mapped_column(FreeJson, nullable=True)
    job_id: Mapped[str | None] = mapped_column(String(50), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    # Where it comes from: the references it was made of, what was done to them, how it differs from the first of them, and what is in it.
    inputs: Mapped[Any] = mapped_column(FreeJson)
    operation: Mapped[Any] = mapped_column(FreeJson, nullable=True)
    changes: Mapped[Any] = mapped_column(FreeJson)
    statistics: Mapped[Any] = mapped_column(FreeJson)


class DatasetClassRow(Base):
    """A class of a dataset as it is called now; ``aliases`` are what it was called before, or elsewhere."""

    __tablename__ = "dataset_classes"
    __table_args__ = (UniqueConstraint("dataset_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    position: Mapped[int]
    name: Mapped[str] = mapped_column(String(200))
    aliases: Mapped[Any] = mapped_column(FreeJson)
    attributes: Mapped[Any] = mapped_column(FreeJson)


class ModelRow(Base):
    """One version of a model. ``origin`` says what it was made from: of a training, or of an import."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    version: Mapped[int]
    description: Mapped[str] = mapped_column(Text)
    job_id: Mapped[str | None] = mapped_column(String(50), index=True)
    image_name: Mapped[str] = mapped_column(String(200))
    image_digest: Mapped[str] = mapped_column(String(200))
    object_type: Mapped[int]
    class_names: Mapped[Any] = mapped_column(FreeJson)
    best_stage: Mapped[str] = mapped_column(Text)
    recommended: Mapped[str | None] = mapped_column(Text)
    parameters: Mapped[Any] = mapped_column(FreeJson)
    folder: Mapped[str] = mapped_column(Text)
    evaluate_config: Mapped[Any] = mapped_column(FreeJson)
    attachments: Mapped[Any] = mapped_column(FreeJson)
    train_data: Mapped[str | None] = mapped_column(Text)
    val_data: Mapped[str | None] = mapped_column(Text)
    origin: Mapped[Any] = mapped_column(FreeJson)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    stages: Mapped[list[StageRow]] = relationship(order_by="StageRow.position", cascade="all, delete-orphan", passive_deletes=True)


class StageRow(Base):
    __tablename__ = "model_stages"
    __table_args__ = (UniqueConstraint("model_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    position: Mapped[int]
    name: Mapped[str] = mapped_column(Text)
    metrics: Mapped[Any] = mapped_column(FreeJson)
    timestamp: Mapped[int] = mapped_column(BigInteger)
    files: Mapped[Any] = mapped_column(FreeJson)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    # sha256 by file name; null for a stage that was stored before checksums were.
    checksums: Mapped[Any] = mapped_column(FreeJson, nullable=True)


class PredictionRow(Base):
    """One per job: collecting twice cannot store twice."""

    __tablename__ = "predictions"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(String(50), unique=True)
    model_name: Mapped[str] = mapped_column(String(200), index=True)
    stage_name: Mapped[str] = mapped_column(Text)
    dataset: Mapped[str] = mapped_column(String(200), index=True)
    number: Mapped[int]
    split: Mapped[str] = mapped_column(String(50))
    file: Mapped[str] = mapped_column(Text)
    image_count: Mapped[int] = mapped_column(BigInteger)
    annotation_count: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class EvaluationRow(Base):
    """Its id follows from what was asked, so that the same question is answered once."""

    __tablename__ = "evaluations"

    id: Mapped[str] = mapped_column(String(50), primary_key=True)
    data: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(50))
    settings: Mapped[Any] = mapped_column(FreeJson)
    models: Mapped[Any] = mapped_column(FreeJson)
    folder: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime, index=True)


class JobRow(Base):
    """One job. There is no column for the state: it follows from ``step`` and ``end_reason``."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "end_reason", "step"), Index(None, "created_at", "id"), UniqueConstraint("name", "version"))

    id: Mapped[str] = mapped_column(String(50), primary_key=True)
    name: Mapped[str | None] = mapped_column(String(200), index=True)
    # Which run of its name it is, from 1; null for a job without a name.
    version: Mapped[int | None]
    kind: Mapped[str] = mapped_column(String(50))
    spec: Mapped[Any] = mapped_column(FreeJson)
    plan: Mapped[Any] = mapped_column(FreeJson)
    step: Mapped[str] = mapped_column(String(50))
    end_reason: Mapped[str | None] = mapped_column(String(50))
    attempt: Mapped[int]
    image_name: Mapped[str] = mapped_column(String(200), index=True)
    image_reference: Mapped[str] = mapped_column(Text)
    image_digest: Mapped[str] = mapped_column(String(200))
    engine: Mapped[str] = mapped_column(String(100))
    dialect: Mapped[str] = mapped_column(String(100))
    container_id: Mapped[str | None] = mapped_column(String(200))
    gpu_uuids: Mapped[Any] = mapped_column(FreeJson)
    run_dir: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    progress: Mapped[Any] = mapped_column(FreeJson, nullable=True)
    exit_code: Mapped[int | None] = mapped_column(BigInteger)
    evidence: Mapped[Any] = mapped_column(FreeJson, nullable=True)
    warnings: Mapped[Any] = mapped_column(FreeJson)
    result: Mapped[Any] = mapped_column(FreeJson, nullable=True)
    cancel_requested_at: Mapped[datetime | None] = mapped_column(UtcTime)
    rerun_of: Mapped[str | None] = mapped_column(String(50))
    cleaned_at: Mapped[datetime | None] = mapped_column(UtcTime)
    user: Mapped[str] = mapped_column(String(200))
    project: Mapped[str] = mapped_column(String(200))
    priority: Mapped[int]
    idempotency_key: Mapped[str | None] = mapped_column(String(200), unique=True)
    # What the queue weighs, so that a hundred thousand rows are read without their JSON.
    gpu_count: Mapped[int]
    cpu_count: Mapped[float] = mapped_column(Float)
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
    gpu_wish: Mapped[str] = mapped_column(Text)
    runtime_s: Mapped[float | None] = mapped_column(Float)
    admitted_at: Mapped[datetime | None] = mapped_column(UtcTime)
    not_before: Mapped[datetime | None] = mapped_column(UtcTime)


class JobAttemptRow(Base):
    """How an attempt ended that was followed by another; the last attempt's end stands in the job itself."""

    __tablename__ = "job_attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    end_reason: Mapped[str] = mapped_column(String(50))
    exit_code: Mapped[int | None] = mapped_column(BigInteger)
    evidence: Mapped[Any] = mapped_column(FreeJson, nullable=True)
    container_id: Mapped[str | None] = mapped_column(String(200))
    gpu_uuids: Mapped[Any] = mapped_column(FreeJson)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    ended_at: Mapped[datetime] = mapped_column(UtcTime)


class JobEventRow(Base):
    """The journal: rows are added, never changed."""

    __tablename__ = "job_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    attempt: Mapped[int]
    step: Mapped[str] = mapped_column(String(50))
    detail: Mapped[Any] = mapped_column(FreeJson)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class GpuLeaseRow(Base):
    """A lease and what it held; ``uuids`` stays after the slots were given back."""

    __tablename__ = "gpu_lease"
    __table_args__ = (UniqueConstraint("job_id", "attempt"), Index(None, "host", "state"))

    id: Mapped[int] = mapped_column(primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    job_id: Mapped[str] = mapped_column(String(50))
    attempt: Mapped[int]
    uuids: Mapped[Any] = mapped_column(FreeJson)
    state: Mapped[str] = mapped_column(String(50))
    exclusive: Mapped[bool] = mapped_column(Boolean)
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    runner_id: Mapped[str] = mapped_column(String(200))
    container_id: Mapped[str | None] = mapped_column(String(200))
    boot_id: Mapped[str] = mapped_column(String(100))
    note: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)


class GpuSlotRow(Base):
    """The mutual exclusion: who holds the row's ``lease_id`` holds the slot. A whole card has one slot, number 0."""

    __tablename__ = "gpu_slot"

    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    uuid: Mapped[str] = mapped_column(String(100), primary_key=True)
    slot: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    lease_id: Mapped[int | None] = mapped_column(ForeignKey("gpu_lease.id"), index=True)


class GpuDeviceRow(Base):
    """A card or MIG slice as it was last seen, and what an operator said about it. ``missing_since``: no longer in the snapshot."""

    __tablename__ = "gpu_device"

    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    uuid: Mapped[str] = mapped_column(String(100), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    parent_uuid: Mapped[str] = mapped_column(String(100))
    model: Mapped[str] = mapped_column(String(200))
    profile: Mapped[str] = mapped_column(String(50))
    total_bytes: Mapped[int] = mapped_column(BigInteger)
    idx: Mapped[int]
    pci: Mapped[str] = mapped_column(String(50))
    boot_id: Mapped[str] = mapped_column(String(100))
    driver: Mapped[str] = mapped_column(String(50))
    first_seen: Mapped[datetime] = mapped_column(UtcTime)
    last_seen: Mapped[datetime] = mapped_column(UtcTime)
    missing_since: Mapped[datetime | None] = mapped_column(UtcTime)
    pool: Mapped[str] = mapped_column(String(100))
    drained: Mapped[bool] = mapped_column(Boolean)
    health: Mapped[str] = mapped_column(String(20))
    # One object per taint: {"reason", "effect", "since", ...}.
    reasons: Mapped[Any] = mapped_column(FreeJson)
    # The counters that health compares: uncorrected ECC errors, remapped rows, when they last changed.
    counters: Mapped[Any] = mapped_column(FreeJson)


class GpuEventRow(Base):
    """What happened to a card: Xid errors, changes of state, conflicts. Rows are added, never changed."""

    __tablename__ = "gpu_event"
    __table_args__ = (Index(None, "host", "uuid", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    uuid: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(50))
    job_id: Mapped[str | None] = mapped_column(String(50), index=True)
    detail: Mapped[Any] = mapped_column(FreeJson)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class GpuPoolRow(Base):
    """A named set of GPUs. ``slots``: jobs that may share a card, 1 for none. Empty ``users``, ``projects`` and ``kinds`` allow all."""

    __tablename__ = "gpu_pool"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    purpose: Mapped[str] = mapped_column(Text)
    slots: Mapped[int]
    max_gpus_per_user: Mapped[int | None]
    max_gpus_per_project: Mapped[int | None]
    users: Mapped[Any] = mapped_column(FreeJson)
    projects: Mapped[Any] = mapped_column(FreeJson)
    kinds: Mapped[Any] = mapped_column(FreeJson)
    drained: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class ShareRow(Base):
    """A user's or project's share of the GPUs: its weight, its quotas, and its use so far, decayed up to ``used_until``."""

    __tablename__ = "shares"

    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    weight: Mapped[float] = mapped_column(Float)
    max_gpus: Mapped[int | None]
    max_jobs: Mapped[int | None]
    usage_gpu_s: Mapped[float] = mapped_column(Float)
    used_until: Mapped[datetime] = mapped_column(UtcTime)


class ConnectionRow(Base):
    """How a store is reached. ``secret_file``: a file below ``<home>/secrets``, for a secret never stands in the database."""

    __tablename__ = "connections"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    endpoint: Mapped[str] = mapped_column(Text)
    region: Mapped[str] = mapped_column(Text)
    bucket: Mapped[str] = mapped_column(Text)
    prefix: Mapped[str] = mapped_column(Text)
    access_key: Mapped[str] = mapped_column(Text)
    profile: Mapped[str] = mapped_column(Text)
    authority: Mapped[str] = mapped_column(Text)
    addressing: Mapped[str] = mapped_column(String(20))
    secret_file: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class DeliveryRow(Base):
    """One message to one listener about one event of a job: written with the event, sent until it arrived or was given up."""

    __tablename__ = "deliveries"
    __table_args__ = (UniqueConstraint("job_id", "attempt", "event", "listener"), Index(None, "ended_at", "next_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    event: Mapped[str] = mapped_column(String(50))
    listener: Mapped[str] = mapped_column(String(100))
    message: Mapped[Any] = mapped_column(FreeJson)
    tries: Mapped[int]
    next_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    error: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class PresetRow(Base):
    """A saved request. ``request`` holds fields of a ``JobSpec``, not necessarily all that a job needs."""

    __tablename__ = "presets"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    request: Mapped[Any] = mapped_column(FreeJson)
    from_job: Mapped[str | None] = mapped_column(String(50))
    user: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)


class VersionCountRow(Base):
    """The highest version that a name of jobs and models ever gave."""

    __tablename__ = "version_counts"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    newest: Mapped[int]
