"""A sink's process, for tests that kill it. Everything is read from the environment, as always."""

import sys

from consumers.sink.loop import run
from runtime.errors import Stop
from runtime.health import Readiness
from runtime.lifecycle import StopSignal
from runtime.logs import configure
from runtime.metrics import Metrics
from runtime.settings import load


def main() -> int:
    settings = load()
    configure(settings)
    stop = StopSignal()
    stop.install()
    try:
        run(settings, stop, Metrics(), Readiness())
    except Stop as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
