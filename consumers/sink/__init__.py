"""The sink: reads, applies in one transaction with its position, and waits out what is away."""
