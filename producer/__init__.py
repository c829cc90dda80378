"""Source to Kafka: walk each table of each site and publish its pages exactly once."""
