"""Seeded schedules on a real PostgreSQL: at each statement and commit an engine may be paused or killed."""
