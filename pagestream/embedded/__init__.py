"""Real Kafka, PostgreSQL and Datasette servers without Docker, Java or root: for demo and tests."""
