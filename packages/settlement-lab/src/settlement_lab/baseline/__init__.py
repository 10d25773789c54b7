"""Measures what the database server itself can do, beside the engine and on the same server."""
