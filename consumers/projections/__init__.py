"""What each topic becomes in PostgreSQL: one module a topic, its SQL in the file beside it."""
