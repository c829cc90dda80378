"""Several embedded servers, started and ended together on one state directory."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from pagestream.embedded.server import EmbeddedServer
from runtime.errors import ConfigurationError, OwnedElsewhere


class Stack:
    """The servers of one state directory: started side by side, ended in reverse order.

    List a server after those it may still need while it ends. One process at a time holds a state
    directory. As a context manager it starts on entry and stops on exit.
    """

    def __init__(self, state: Path, servers: Sequence[EmbeddedServer]) -> None:
        self.state = state.absolute()
        self.addresses: list[str] = []
        """The addresses of the running servers, in the order of the servers."""
        self._servers = servers
        self._held = ExitStack()

    def start(self) -> list[str]:
        """Start all servers and return their addresses, in the order of the servers.

        OwnedElsewhere when another process holds the state directory. When one server fails, or
        this is interrupted, the others are broken off and the first error is raised.
        """
        self._held.enter_context(sole_user(self.state))
        threads = ThreadPoolExecutor(max(1, len(self._servers)))
        starts = [threads.submit(server.start) for server in self._servers]
        try:
            done, _ = wait(starts, return_when=FIRST_EXCEPTION)
            for start in done:
                start.result()
        except BaseException:
            for server in self._servers:
                server.abandon()
            threads.shutdown(cancel_futures=True)
            self._held.close()
            raise
        threads.shutdown()
        self.addresses = [start.result() for start in starts]
        return self.addresses

    def stop(self) -> None:
        """End all servers, last first, and let go of the state directory."""
        try:
            for server in reversed(self._servers):
                server.stop()
        except BaseException:
            for server in self._servers:
                server.kill()
            raise
        finally:
            self._held.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self.stop()


@contextmanager
def sole_user(state: Path) -> Iterator[None]:
    """Hold a state directory, made if need be; OwnedElsewhere when another process holds it."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        file = (state / "lock").open("a+")
    except OSError as error:
        raise ConfigurationError(
            f"cannot use the state directory {state}: {error.strerror}",
            remedy="name one of yours in PAGESTREAM_STATE_DIRECTORY",
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise OwnedElsewhere(
                f"the state directory {state} is in use by process {file.read().strip()}",
                remedy="stop it, or name another one in PAGESTREAM_STATE_DIRECTORY",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
