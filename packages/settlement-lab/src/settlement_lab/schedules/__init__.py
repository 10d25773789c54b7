"""Seeded schedules on a real PostgreSQL: at each statement and commit another may go on, or an engine die."""
