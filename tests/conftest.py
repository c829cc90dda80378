"""Names the fixture plugins; each `fix_<resource>.py` owns the fixtures of one resource."""

pytest_plugins = (
    "fix_disk",
    "fix_process",
    "fix_proxy",
    "fix_scripted_source",
    "fix_http",
    "fix_services",
    "fix_sink",
    "fix_sink_resets",
    "fix_source",
    "fix_terminal",
    "fix_walker",
    # Last: it is built of those above.
    "fix_faults",
)
