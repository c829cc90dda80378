"""The walker as it is, but that a refusal of the source holds it back for a moment, not a minute.

`python -P -m soak.hasty_walker [ARM]`: with an argument it is one of `broken_walker`'s, which lack
a rule: a control arm.
"""

import sys
from typing import Final

from broken_walker import ARMS

from pagestream.cli.app import run
from producer import pacing

HOLD_SECONDS: Final = 0.5

if __name__ == "__main__":
    vars(pacing).update(HOLD_SECONDS=HOLD_SECONDS, CIRCUIT_SECONDS=2 * HOLD_SECONDS)
    for arm in sys.argv[1:]:
        ARMS[arm]()
    sys.exit(run(["run", "walker"]))
