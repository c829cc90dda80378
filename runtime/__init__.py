"""How any process here runs: settings, errors, logs, metrics, health, and the doors outward."""
