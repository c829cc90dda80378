"""The door to PostgreSQL: the one package that opens connections and knows what its errors mean."""
