"""The response that kills whoever decodes it: found by counting, and failed like any other.

Nothing that a dying process might still say can be relied on, so the count is raised beforehand:

1. What ended a process lies in the log that its successor is assigned. Until all of that is
   decided, responses are only downloaded in the background.
2. At its turn the loop decodes such a response, one at a time, and commits the same offset once
   more just before, with `starts` one higher beside it.
3. If that ends the process, its successor finds the count. If not, the transaction that follows
   commits the next offset, without one.
4. After MOST_STARTS the response is not decoded any more: it is a Failure of its own walk.
5. A command with a count is not put back, for the count is its offset's: what is behind it waits
   for its response this once.
"""

import time
from typing import Final

from producer.decide import FetchedCommand
from producer.fetching import Downloaded, decoded
from producer.responses import Failure, Fetched
from producer.state import Owned, commit_metadata
from runtime.errors import BrokerUnavailable
from runtime.kafka.group import GroupConsumer
from runtime.kafka.records import Committed, Partition
from runtime.logs import logger
from schemas.topics import COMMANDS

MOST_STARTS: Final = 5
"""So often a response may be begun to be decoded without anything being committed afterwards."""

_COMMIT_SECONDS: Final = 5.0
_NEXT_ATTEMPT_SECONDS: Final = 10.0


class Probation:
    """Decodes responses that may end the process; `slot` is the transactional id of this one."""

    def __init__(self, commands_id: str, slot: str) -> None:
        self._commands_id = commands_id
        self._slot = slot
        self._harmless: dict[int, FetchedCommand] = {}
        self._not_before = float("-inf")

    def decode(
        self, owned: Owned, command: FetchedCommand, downloaded: Downloaded, consumer: GroupConsumer
    ) -> Fetched | None:
        """Return the response to the next command of a partition; None where it must wait.

        So it is when the count could not be kept: the broker is away, or a rebalance is under way.
        """
        if self._harmless.get(owned.number) != command:
            if owned.starts >= MOST_STARTS:
                return _given_up(owned)
            if not self._count(owned, consumer):
                return None
        fetched = decoded(downloaded, command)
        # Should its transaction fail, it is decoded again, and nobody died of it.
        self._harmless[owned.number] = command
        return fetched

    def _count(self, owned: Owned, consumer: GroupConsumer) -> bool:
        """Keep the count; False where that failed, or did a moment ago.

        Each attempt holds up the loop: one for every partition in turn would be its standstill.
        """
        if time.monotonic() < self._not_before:
            return False
        starts = owned.starts + 1
        metadata = commit_metadata(owned.as_of, self._commands_id, self._slot, starts)
        partition = Partition(COMMANDS.name, owned.number)
        try:
            consumer.commit_now(partition, Committed(owned.offset, metadata), _COMMIT_SECONDS)
        except BrokerUnavailable as error:
            self._not_before = time.monotonic() + _NEXT_ATTEMPT_SECONDS
            logger("walker").warning("start_not_counted", partition=owned.number, error=str(error))
            return False
        owned.starts = starts
        return True


def _given_up(owned: Owned) -> Failure:
    logger("walker").error("response_kills_worker", partition=owned.number, offset=owned.offset)
    return Failure(
        reason="kills_worker",
        error=f"the walker died {owned.starts} times in a row when it read this response",
    )
