"""Carries out a plan's faults on a road, each when it is due, and undoes it in time."""

import heapq
import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import cast

from proxy import BOTH, Direction

from runtime.errors import PagestreamError
from soak.orders import Order
from soak.plan import Fault, Server
from soak.road import Road
from soak.troubles import Trouble

_TURN_SECONDS = 0.05
_LATER_SECONDS = 1.0
_MOST_TRIES = 20

Deed = Callable[[], None]


class Chaos:
    """Everything that is to be done, in the order of time; `said` is told of each fault."""

    def __init__(self, road: Road, said: Callable[[str], None]) -> None:
        self._road = road
        self._said = said
        self._due: list[tuple[float, int, Deed]] = []
        self._number = itertools.count()

    def run(self) -> None:
        """Do it all; the last fault is undone when this returns, but nothing has recovered."""
        plan = self._road.plan
        for fault in plan.faults:
            self._at(fault.at, partial(self._begin, fault))
        for trouble in plan.troubles:
            self._at(trouble.at, partial(self._trouble, trouble))
        for order in plan.orders:
            for moment in (order.at, *order.again):
                self._at(moment, partial(self._send, moment, order))
        self._at(plan.seconds, lambda: None)
        began = time.monotonic()
        while self._due:
            self._road.tend()
            while self._due and self._due[0][0] <= time.monotonic() - began:
                _, _, deed = heapq.heappop(self._due)
                deed()
            time.sleep(_TURN_SECONDS)

    def _at(self, moment: float, deed: Deed) -> None:
        heapq.heappush(self._due, (moment, next(self._number), deed))

    def _send(self, moment: float, order: Order, tries: int = 1) -> None:
        """Send it, or a little later where Kafka does not serve, or there is no such step yet."""
        if self._sent(order) or tries == _MOST_TRIES:
            return
        later = moment + _LATER_SECONDS
        self._at(later, partial(self._send, later, order, tries + 1))

    def _sent(self, order: Order) -> bool:
        try:
            return self._road.is_up("kafka") and self._road.person.obey(order)
        except PagestreamError:
            return False  # perhaps it was taken: the same once more does no harm

    def _trouble(self, trouble: Trouble) -> None:
        self._said(str(trouble))
        plot = self._road.plot(trouble.site)
        trouble.begin(plot)
        self._at(trouble.at + trouble.seconds, plot.heal)

    def _begin(self, fault: Fault) -> None:
        self._said(str(fault))
        if fault.target in self._road.workers:
            self._befall_worker(fault)
        else:
            self._befall_server(fault)

    def _befall_worker(self, fault: Fault) -> None:
        worker = self._road.workers[fault.target]
        match fault.action:
            case "kill":
                worker.kill()
            case "terminate":
                worker.terminate()
            case "freeze":
                worker.freeze(fault.seconds)
            case "freeze_at":
                worker.freeze_at(fault.detail, fault.seconds)
            case "crash_at":
                worker.crash_at(fault.detail)

    def _befall_server(self, fault: Fault) -> None:
        server = cast("Server", fault.target)
        proxy = self._road.proxy(server)
        after = fault.at + fault.seconds
        match fault.action:
            case "kill_server" if self._road.is_up(server):
                self._road.kill(server)
                self._at(after, partial(self._road.start_again, server))
            case "kill_server":
                self._said(f"         {server} is down already")
            case "cut":
                proxy.cut()
            case "refuse":
                proxy.refuse()
                self._at(after, proxy.accept)
            case "delay":
                proxy.delay(0.15)
                self._at(after, partial(proxy.delay, 0.0))
            case "hold":
                ways = cast("tuple[Direction, ...]", tuple(fault.detail.split())) or BOTH
                proxy.freeze(*ways)
                self._at(after, partial(proxy.thaw, *ways))
