"""Named connections to stores."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    texts = ("endpoint", "region", "bucket", "prefix", "access_key", "profile", "authority")
    op.create_table(
        "connections",
        sa.Column("name", sa.String(length=100), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in texts),
        sa.Column("addressing", sa.String(length=20), nullable=False),
        sa.Column("secret_file", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_connections")),
    )


def downgrade() -> None:
    op.drop_table("connections")
