"""Names the fixture plugins; each `fix_<resource>.py` owns the fixtures of one resource."""

pytest_plugins = (
    "fix_process",
    "fix_scripted_source",
    "fix_services",
    "fix_sink",
    "fix_source",
    "fix_terminal",
    "fix_walker",
)
