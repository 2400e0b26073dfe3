"""The first schema: images, links, datasets, models, predictions, jobs, GPU leases.

Written out in plain types: this script must go on making what it makes today, whatever registry/tables.py becomes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _time() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sa.UniqueConstraint("name", name=op.f("uq_datasets_name")),
    )
    op.create_table(
        "gpu_lease",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("job_id", sa.String(length=50), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("uuids", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=50), nullable=False),
        sa.Column("exclusive", sa.Boolean(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("runner_id", sa.String(length=200), nullable=False),
        sa.Column("container_id", sa.String(length=200), nullable=True),
        sa.Column("boot_id", sa.String(length=100), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.Column("updated_at", _time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gpu_lease")),
        sa.UniqueConstraint("job_id", "attempt", name=op.f("uq_gpu_lease_job_id_attempt")),
    )
    op.create_index(op.f("ix_gpu_lease_host_state"), "gpu_lease", ["host", "state"], unique=False)
    op.create_table(
        "images",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("engine", sa.String(length=100), nullable=False),
        sa.Column("dialect", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=200), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("profile", sa.String(length=50), nullable=False),
        sa.Column("allow", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("registered_at", _time(), nullable=False),
        sa.Column("updated_at", _time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
        sa.UniqueConstraint("name", name=op.f("uq_images_name")),
    )
    op.create_index(op.f("ix_images_digest"), "images", ["digest"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=50), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=True),
        sa.Column("kind", sa.String(length=50), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("step", sa.String(length=50), nullable=False),
        sa.Column("end_reason", sa.String(length=50), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("image_name", sa.String(length=200), nullable=False),
        sa.Column("image_reference", sa.Text(), nullable=False),
        sa.Column("image_digest", sa.String(length=200), nullable=False),
        sa.Column("engine", sa.String(length=100), nullable=False),
        sa.Column("dialect", sa.String(length=100), nullable=False),
        sa.Column("container_id", sa.String(length=200), nullable=True),
        sa.Column("gpu_uuids", sa.JSON(), nullable=False),
        sa.Column("run_dir", sa.Text(), nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.Column("started_at", _time(), nullable=True),
        sa.Column("ended_at", _time(), nullable=True),
        sa.Column("progress", sa.JSON(), nullable=True),
        sa.Column("exit_code", sa.BigInteger(), nullable=True),
        sa.Column("evidence", sa.JSON(), nullable=True),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("cancel_requested_at", _time(), nullable=True),
        sa.Column("rerun_of", sa.String(length=50), nullable=True),
        sa.Column("cleaned_at", _time(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(op.f("ix_jobs_created_at_id"), "jobs", ["created_at", "id"], unique=False)
    op.create_index(op.f("ix_jobs_end_reason_step"), "jobs", ["end_reason", "step"], unique=False)
    op.create_index(op.f("ix_jobs_image_name"), "jobs", ["image_name"], unique=False)
    op.create_index(op.f("ix_jobs_name"), "jobs", ["name"], unique=False)
    op.create_table(
        "models",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("job_id", sa.String(length=50), nullable=True),
        sa.Column("image_name", sa.String(length=200), nullable=False),
        sa.Column("image_digest", sa.String(length=200), nullable=False),
        sa.Column("object_type", sa.Integer(), nullable=False),
        sa.Column("class_names", sa.JSON(), nullable=False),
        sa.Column("best_stage", sa.Text(), nullable=False),
        sa.Column("recommended", sa.Text(), nullable=True),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("evaluate_config", sa.JSON(), nullable=False),
        sa.Column("attachments", sa.JSON(), nullable=False),
        sa.Column("train_data", sa.Text(), nullable=True),
        sa.Column("val_data", sa.Text(), nullable=True),
        sa.Column("created_at", _time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("name", name=op.f("uq_models_name")),
    )
    op.create_index(op.f("ix_models_job_id"), "models", ["job_id"], unique=False)
    op.create_table(
        "predictions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=50), nullable=False),
        sa.Column("model_name", sa.String(length=200), nullable=False),
        sa.Column("stage_name", sa.Text(), nullable=False),
        sa.Column("dataset", sa.String(length=200), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("split", sa.String(length=50), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("image_count", sa.BigInteger(), nullable=False),
        sa.Column("annotation_count", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_predictions")),
        sa.UniqueConstraint("job_id", name=op.f("uq_predictions_job_id")),
    )
    op.create_index(op.f("ix_predictions_dataset"), "predictions", ["dataset"], unique=False)
    op.create_index(op.f("ix_predictions_model_name"), "predictions", ["model_name"], unique=False)
    op.create_table(
        "dataset_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("image_count", sa.BigInteger(), nullable=False),
        sa.Column("annotation_count", sa.BigInteger(), nullable=False),
        sa.Column("class_names", sa.JSON(), nullable=False),
        sa.Column("splits", sa.JSON(), nullable=False),
        sa.Column("object_type", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=200), nullable=False),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.Column("source", sa.JSON(), nullable=True),
        sa.Column("job_id", sa.String(length=50), nullable=True),
        sa.Column("created_at", _time(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_dataset_versions_dataset_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_versions")),
        sa.UniqueConstraint("dataset_id", "number", name=op.f("uq_dataset_versions_dataset_id_number")),
    )
    op.create_index(op.f("ix_dataset_versions_content_hash"), "dataset_versions", ["content_hash"], unique=False)
    op.create_index(op.f("ix_dataset_versions_job_id"), "dataset_versions", ["job_id"], unique=False)
    op.create_table(
        "gpu_slot",
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("uuid", sa.String(length=100), nullable=False),
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("lease_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["lease_id"], ["gpu_lease.id"], name=op.f("fk_gpu_slot_lease_id")),
        sa.PrimaryKeyConstraint("host", "uuid", "slot", name=op.f("pk_gpu_slot")),
    )
    op.create_index(op.f("ix_gpu_slot_lease_id"), "gpu_slot", ["lease_id"], unique=False)
    op.create_table(
        "image_digests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=200), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", _time(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_image_digests_image_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_digests")),
    )
    op.create_index(op.f("ix_image_digests_image_id"), "image_digests", ["image_id"], unique=False)
    op.create_table(
        "job_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=50), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(length=50), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_events_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_events")),
    )
    op.create_index(op.f("ix_job_events_job_id"), "job_events", ["job_id"], unique=False)
    op.create_table(
        "links",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("training_image_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=50), nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_links_image_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["training_image_id"], ["images.id"], name=op.f("fk_links_training_image_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_links")),
        sa.UniqueConstraint("training_image_id", "image_id", "kind", name=op.f("uq_links_training_image_id_image_id_kind")),
    )
    op.create_index(op.f("ix_links_image_id"), "links", ["image_id"], unique=False)
    op.create_table(
        "model_stages",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_model_stages_model_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_stages")),
        sa.UniqueConstraint("model_id", "name", name=op.f("uq_model_stages_model_id_name")),
    )


def downgrade() -> None:
    for table in (
        "model_stages",
        "links",
        "job_events",
        "image_digests",
        "gpu_slot",
        "dataset_versions",
        "predictions",
        "models",
        "jobs",
        "images",
        "gpu_lease",
        "datasets",
    ):
        op.drop_table(table)
