"""The store: PostgreSQL, the only room with SQL, and the same promises kept in memory."""
