"""The migrations, one module each with its SQL beside it, found by their `revision`."""
