"""Randomised runs of the whole road: faults by a seed, then heal, drain, and ask the oracle."""
