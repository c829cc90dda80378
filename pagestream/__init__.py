"""What a person touches: the command line, the servers it can start by itself, and the demo."""
