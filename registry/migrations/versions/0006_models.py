"""Versions of named jobs and of models, where a model comes from, checksums of its files, saved requests."""

from collections import defaultdict
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_JOBS = sa.table(
    "jobs",
    sa.column("id", sa.String()),
    sa.column("name", sa.String()),
    sa.column("version", sa.Integer()),
    sa.column("plan", sa.JSON()),
    sa.column("end_reason", sa.String()),
    sa.column("created_at", sa.DateTime(timezone=True)),
)
_MODELS = sa.table(
    "models",
    sa.column("id", sa.Integer()),
    sa.column("name", sa.String()),
    sa.column("version", sa.Integer()),
    sa.column("job_id", sa.String()),
)
_PREDICTIONS = sa.table("predictions", sa.column("model_name", sa.String()))


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("version", sa.Integer(), nullable=True))
    _number_jobs()
    with op.batch_alter_table("jobs") as jobs:
        jobs.create_unique_constraint(op.f("uq_jobs_name_version"), ["name", "version"])
    with op.batch_alter_table("models") as models:
        models.add_column(sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
        models.add_column(sa.Column("description", sa.Text(), nullable=False, server_default=""))
        models.add_column(sa.Column("origin", sa.JSON(), nullable=False, server_default="{}"))
        models.drop_constraint(op.f("uq_models_name"), type_="unique")
    _number_models()
    with op.batch_alter_table("models") as models:
        models.create_unique_constraint(op.f("uq_models_name_version"), ["name", "version"])
        for column in ("version", "description", "origin"):
            models.alter_column(column, server_default=None)
    with op.batch_alter_table("model_stages") as stages:
        stages.add_column(sa.Column("checksums", sa.JSON(), nullable=True))
    _create_presets()
    _create_version_counts()


def _number_jobs() -> None:
    """In the order in which they were submitted."""
    connection = op.get_bind()
    taken: dict[str, int] = defaultdict(int)
    named = sa.select(_JOBS.c.id, _JOBS.c.name).where(_JOBS.c.name.is_not(None)).order_by(_JOBS.c.created_at, _JOBS.c.id)
    for job_id, name in connection.execute(named).all():
        taken[name] += 1
        connection.execute(_JOBS.update().where(_JOBS.c.id == job_id).values(version=taken[name]))


def _number_models() -> None:
    """A model has the version of the job that left it; what refers to it by its name alone means this one."""
    connection = op.get_bind()
    jobs = {job_id: (name, version) for job_id, name, version in connection.execute(sa.select(_JOBS.c.id, _JOBS.c.name, _JOBS.c.version))}
    references: dict[str, str] = {}
    for model_id, name, job_id in connection.execute(sa.select(_MODELS.c.id, _MODELS.c.name, _MODELS.c.job_id)).all():
        job_name, job_version = jobs.get(job_id, (None, None))
        version = job_version if job_name == name and job_version else 1
        connection.execute(_MODELS.update().where(_MODELS.c.id == model_id).values(version=version))
        references[name] = f"{name}@V{version:04d}"
        connection.execute(_PREDICTIONS.update().where(_PREDICTIONS.c.model_name == name).values(model_name=references[name]))
    _pin_unfinished_jobs(references)


def _pin_unfinished_jobs(references: dict[str, str]) -> None:
    connection = op.get_bind()
    unfinished = sa.select(_JOBS.c.id, _JOBS.c.plan).where(_JOBS.c.end_reason.is_(None))
    for job_id, plan in connection.execute(unfinished).all():
        changed: dict[str, Any] = {**plan, "model": references.get(plan.get("model"), plan.get("model"))}
        connection.execute(_JOBS.update().where(_JOBS.c.id == job_id).values(plan=changed))


def _create_presets() -> None:
    op.create_table(
        "presets",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("from_job", sa.String(length=50), nullable=True),
        sa.Column("user", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_presets")),
    )


def _create_version_counts() -> None:
    op.create_table(
        "version_counts",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("newest", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_version_counts")),
    )
    connection = op.get_bind()
    newest: dict[str, int] = defaultdict(int)
    for table in (_JOBS, _MODELS):
        for name, version in connection.execute(sa.select(table.c.name, table.c.version).where(table.c.name.is_not(None))).all():
            newest[name] = max(newest[name], version)
    counts = sa.table("version_counts", sa.column("name", sa.String()), sa.column("newest", sa.Integer()))
    for name, version in newest.items():
        connection.execute(counts.insert().values(name=name, newest=version))


def downgrade() -> None:
    """Older code knows one model of a name: of several versions, all but the newest get a name of their own."""
    op.drop_table("presets")
    op.drop_table("version_counts")
    with op.batch_alter_table("model_stages") as stages:
        stages.drop_column("checksums")
    connection, newest = op.get_bind(), {}
    rows = connection.execute(sa.select(_MODELS.c.id, _MODELS.c.name, _MODELS.c.version).order_by(_MODELS.c.version)).all()
    for _, name, version in rows:
        newest[name] = version
    for model_id, name, version in rows:
        if newest[name] != version:
            connection.execute(_MODELS.update().where(_MODELS.c.id == model_id).values(name=f"{name}-V{version:04d}"))
    with op.batch_alter_table("models") as models:
        models.drop_constraint(op.f("uq_models_name_version"), type_="unique")
        models.create_unique_constraint(op.f("uq_models_name"), ["name"])
        for column in ("version", "description", "origin"):
            models.drop_column(column)
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_constraint(op.f("uq_jobs_name_version"), type_="unique")
        jobs.drop_column("version")
