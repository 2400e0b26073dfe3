"""Who can be told about jobs."""
