"""What a runner that runs as a service keeps: who asked for a job and what it takes, former attempts, GPU devices, pools, shares, deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _time() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("user", sa.String(length=200), nullable=False, server_default=""))
        jobs.add_column(sa.Column("project", sa.String(length=200), nullable=False, server_default="default"))
        jobs.add_column(sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
        jobs.add_column(sa.Column("idempotency_key", sa.String(length=200), nullable=True))
        jobs.add_column(sa.Column("gpu_count", sa.Integer(), nullable=False, server_default="0"))
        jobs.add_column(sa.Column("cpu_count", sa.Float(), nullable=False, server_default="0"))
        jobs.add_column(sa.Column("memory_bytes", sa.BigInteger(), nullable=False, server_default="0"))
        jobs.add_column(sa.Column("gpu_wish", sa.Text(), nullable=False, server_default=""))
        jobs.add_column(sa.Column("runtime_s", sa.Float(), nullable=True))
        jobs.add_column(sa.Column("admitted_at", _time(), nullable=True))
        jobs.add_column(sa.Column("not_before", _time(), nullable=True))
        jobs.create_unique_constraint(op.f("uq_jobs_idempotency_key"), ["idempotency_key"])
    with op.batch_alter_table("jobs") as jobs:  # the defaults were for the rows that were there
        for column in ("user", "project", "priority", "gpu_count", "cpu_count", "memory_bytes", "gpu_wish"):
            jobs.alter_column(column, server_default=None)
    _weigh_unfinished_jobs()
    # A job that already runs was admitted when it started.
    op.execute("UPDATE jobs SET admitted_at = started_at WHERE started_at IS NOT NULL")
    _create_job_attempts()
    _create_gpu_tables()
    _create_shares()
    _create_deliveries()


def _weigh_unfinished_jobs() -> None:
    """A job that still waits is weighed by what it asked for."""
    connection = op.get_bind()
    table = sa.table(
        "jobs", sa.column("id"), sa.column("spec", sa.JSON()), sa.column("end_reason"), sa.column("gpu_count"), sa.column("cpu_count")
    )
    for job_id, spec in connection.execute(sa.select(table.c.id, table.c.spec).where(table.c.end_reason.is_(None))).all():
        asked = {"gpu_count": spec.get("gpu_count") or 0, "cpu_count": spec.get("cpu_count") or 0.0}
        connection.execute(table.update().where(table.c.id == job_id).values(asked))


def _create_job_attempts() -> None:
    op.create_table(
        "job_attempts",
        sa.Column("job_id", sa.String(length=50), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("end_reason", sa.String(length=50), nullable=False),
        sa.Column("exit_code", sa.BigInteger(), nullable=True),
        sa.Column("evidence", sa.JSON(), nullable=True),
        sa.Column("container_id", sa.String(length=200), nullable=True),
        sa.Column("gpu_uuids", sa.JSON(), nullable=False),
        sa.Column("started_at", _time(), nullable=True),
        sa.Column("ended_at", _time(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_attempts_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "attempt", name=op.f("pk_job_attempts")),
    )


def _create_gpu_tables() -> None:
    op.create_table(
        "gpu_device",
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("uuid", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("parent_uuid", sa.String(length=100), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("profile", sa.String(length=50), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("idx", sa.Integer(), nullable=False),
        sa.Column("pci", sa.String(length=50), nullable=False),
        sa.Column("boot_id", sa.String(length=100), nullable=False),
        sa.Column("driver", sa.String(length=50), nullable=False),
        sa.Column("first_seen", _time(), nullable=False),
        sa.Column("last_seen", _time(), nullable=False),
        sa.Column("missing_since", _time(), nullable=True),
        sa.Column("pool", sa.String(length=100), nullable=False),
        sa.Column("drained", sa.Boolean(), nullable=False),
        sa.Column("health", sa.String(length=20), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("counters", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("host", "uuid", name=op.f("pk_gpu_device")),
    )
    op.create_table(
        "gpu_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("uuid", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=50), nullable=False),
        sa.Column("job_id", sa.String(length=50), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gpu_event")),
    )
    op.create_index(op.f("ix_gpu_event_host_uuid_id"), "gpu_event", ["host", "uuid", "id"], unique=False)
    op.create_index(op.f("ix_gpu_event_job_id"), "gpu_event", ["job_id"], unique=False)
    op.create_table(
        "gpu_pool",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("max_gpus_per_user", sa.Integer(), nullable=True),
        sa.Column("max_gpus_per_project", sa.Integer(), nullable=True),
        sa.Column("users", sa.JSON(), nullable=False),
        sa.Column("projects", sa.JSON(), nullable=False),
        sa.Column("kinds", sa.JSON(), nullable=False),
        sa.Column("drained", sa.Boolean(), nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_gpu_pool")),
    )


def _create_shares() -> None:
    op.create_table(
        "shares",
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("max_gpus", sa.Integer(), nullable=True),
        sa.Column("max_jobs", sa.Integer(), nullable=True),
        sa.Column("usage_gpu_s", sa.Float(), nullable=False),
        sa.Column("used_until", _time(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_shares")),
    )


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=50), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(length=50), nullable=False),
        sa.Column("listener", sa.String(length=100), nullable=False),
        sa.Column("message", sa.JSON(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", _time(), nullable=False),
        sa.Column("ended_at", _time(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_at", _time(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_deliveries_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("job_id", "attempt", "event", "listener", name=op.f("uq_deliveries_job_id_attempt_event_listener")),
    )
    op.create_index(op.f("ix_deliveries_ended_at_next_at"), "deliveries", ["ended_at", "next_at"], unique=False)


def downgrade() -> None:
    for table in ("deliveries", "shares", "gpu_pool", "gpu_event", "gpu_device", "job_attempts"):
        op.drop_table(table)
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_constraint(op.f("uq_jobs_idempotency_key"), type_="unique")
        for column in (
            "user",
            "project",
            "priority",
            "idempotency_key",
            "gpu_count",
            "cpu_count",
            "memory_bytes",
            "gpu_wish",
            "runtime_s",
            "admitted_at",
            "not_before",
        ):
            jobs.drop_column(column)
