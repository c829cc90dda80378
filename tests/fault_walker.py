"""A walker's process in which every site has a way to its source of its own, and time is steered.

The folder that PAGESTREAM_TEST_SOURCE names holds for each site `SITE.json`: the settings of its
source, which hold from the next request on when the file is replaced. Sites with the same settings
share one source, and so one request limit. `time` steers the clocks (see `fault_time`).
"""

import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import msgspec
from fault_time import SteeredTime

from producer import giving
from producer.datasette import DatasetteSource, client
from producer.decide import FetchedCommand
from producer.fetching import Decode
from producer.role import run
from runtime.errors import PagestreamError, Stop, Unavailable
from runtime.health import Readiness
from runtime.lifecycle import StopSignal
from runtime.logs import configure
from runtime.memory import share_one_arena
from runtime.metrics import Metrics
from runtime.settings import Settings, load


class Sources:
    """The source of each site, as its file says."""

    def __init__(self, settings: Settings, metrics: Metrics, stop: StopSignal) -> None:
        self._settings = settings
        self._metrics = metrics
        self._stop = stop
        self._folder = Path(os.environ["PAGESTREAM_TEST_SOURCE"])
        self._lock = threading.Lock()
        self._by_settings: dict[bytes, DatasetteSource] = {}

    def download(self, command: FetchedCommand, wanted: Callable[[], bool]) -> Decode:
        return self._source_of(command.site).download(command, wanted)

    def _source_of(self, site: str) -> DatasetteSource:
        written = (self._folder / f"{site}.json").read_bytes()
        with self._lock:
            if written not in self._by_settings:
                update = msgspec.json.decode(written)
                update.pop("apart", None)
                settings = self._settings.model_copy(update=update)
                self._by_settings[written] = DatasetteSource(settings, self._metrics, self._stop)
            return self._by_settings[written]


def _hurry(module: ModuleType, name: str, **clock: Callable[[], float]) -> None:
    """Have what a module makes by this name read another clock: the one that it takes anyhow."""
    setattr(module, name, partial(getattr(module, name), **clock))


def main() -> int:
    share_one_arena()
    steered = SteeredTime(Path(os.environ["PAGESTREAM_TEST_SOURCE"]) / "time")
    _hurry(client, "limiter", clock=steered.monotonic)
    _hurry(giving, "Timers", monotonic=steered.monotonic)
    stop, metrics = StopSignal(), Metrics()
    stop.install()
    settings = load()
    configure(settings)
    sources = Sources(settings, metrics, stop)
    try:
        run(settings, sources.download, stop, metrics, Readiness(), steered.now)
    except PagestreamError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code if isinstance(error, Stop) else Unavailable.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
