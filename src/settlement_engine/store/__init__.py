"""The store: PostgreSQL, the only component with SQL, and the same guarantees in memory for tests."""
