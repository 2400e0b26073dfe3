"""Where a dataset's versions come from, which of them is current, and its classes with what else they are called."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NEW = {"inputs": "[]", "changes": "{}", "statistics": "{}"}


def upgrade() -> None:
    with op.batch_alter_table("datasets") as datasets:
        datasets.add_column(sa.Column("current_number", sa.Integer(), nullable=True))
        datasets.add_column(sa.Column("highest_number", sa.Integer(), nullable=False, server_default="0"))
    newest = "SELECT COALESCE(MAX(number), 0) FROM dataset_versions WHERE dataset_id = datasets.id"
    op.execute(f"UPDATE datasets SET highest_number = ({newest})")  # noqa: S608 - nothing in it comes from anybody
    with op.batch_alter_table("dataset_versions") as versions:
        versions.add_column(sa.Column("operation", sa.JSON(), nullable=True))
        for name, empty in _NEW.items():
            versions.add_column(sa.Column(name, sa.JSON(), nullable=False, server_default=empty))
    with op.batch_alter_table("dataset_versions") as versions:  # the defaults were for the rows that were there
        for name in _NEW:
            versions.alter_column(name, server_default=None)
    op.create_table(
        "dataset_classes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("aliases", sa.JSON(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_dataset_classes_dataset_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_classes")),
        sa.UniqueConstraint("dataset_id", "name", name=op.f("uq_dataset_classes_dataset_id_name")),
    )


def downgrade() -> None:
    op.drop_table("dataset_classes")
    with op.batch_alter_table("dataset_versions") as versions:
        for name in ("operation", *_NEW):
            versions.drop_column(name)
    with op.batch_alter_table("datasets") as datasets:
        datasets.drop_column("highest_number")
        datasets.drop_column("current_number")
