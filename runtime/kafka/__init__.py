"""The door to Kafka: the one package that knows the client. Topics go by their short names."""
