"""Runs migration scripts on the connection that ``registry.database`` hands over, inside its transaction."""

from alembic import context

from registry.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot alter a column in place
    transactional_ddl=True,  # true for SQLite too: our connections begin and commit explicitly
)
with context.begin_transaction():
    context.run_migrations()
