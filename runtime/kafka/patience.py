"""Calls into the client library that may never return, whatever time-out they are given."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from runtime.errors import BrokerUnavailable


def within(seconds: float, doing: str, call: Callable[[], object]) -> None:
    """Make a call in a thread that is left behind when it hangs; raises what the call raises.

    Raises BrokerUnavailable after so many seconds; `doing` says what was tried. The thread keeps
    alive whatever it hangs in, which must not do any harm should it go on one day.
    """
    done: Future[None] = Future()

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - it is raised where the call was made
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, name="left-behind-if-it-hangs", daemon=True).start()
    try:
        done.result(seconds)
    except TimeoutError:
        raise BrokerUnavailable(f"{doing}: no answer in {seconds:.0f} s") from None
