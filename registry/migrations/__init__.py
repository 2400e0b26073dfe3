"""The schema's history. ``HEAD`` is the revision this code needs; a test holds it equal to the newest script."""

HEAD = "0001"
