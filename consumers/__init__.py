"""Kafka to PostgreSQL: apply every record exactly once, in order per table."""
