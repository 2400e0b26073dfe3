"""The schema's history. ``HEAD`` is the revision this code needs; a test holds it equal to the newest script.

To change the schema: change registry/tables.py, add ``versions/000N_<what>.py`` by hand with plain types (``op.batch_alter_table`` for
SQLite), raise ``HEAD``. tests/registry/test_migrations.py fails until tables and scripts say the same. Foreign keys are off while scripts
run and are checked before the commit, so that a batch may rebuild a table others refer to.
"""

HEAD = "0006"
