"""What was run: one line for each run, so that an interrupted soak goes on where it was."""

import json
import time
from pathlib import Path
from typing import Final

from soak.run import Result

_FORM: Final = 2
"""What a seed stands for: rises when plans are drawn in another way."""


class Journal:
    """The seeds that were run for so many seconds each, in a file; each line is one run."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path: Final = path
        self._seconds = seconds

    def good(self) -> set[int]:
        """Return the seeds whose newest run ended well."""
        return {seed for seed, is_good in self._newest().items() if is_good}

    def bad(self) -> set[int]:
        """Return the seeds whose newest run did not."""
        return {seed for seed, is_good in self._newest().items() if not is_good}

    def note(self, result: Result) -> None:
        """Add a run."""
        line = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "form": _FORM,
            "seed": result.plan.seed,
            "seconds": result.plan.seconds,
            "good": result.good,
            "what": str(result),
            "findings": result.findings,
            "spoilt": result.spoilt,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _newest(self) -> dict[int, bool]:
        if not self.path.exists():
            return {}
        # A last line that is not whole is that of a run which was broken off.
        lines = [
            line for line in self.path.read_text().splitlines(keepends=True) if line[-1] == "\n"
        ]
        runs = [json.loads(line) for line in lines]
        mine = (run for run in runs if run.get("form") == _FORM)
        return {run["seed"]: run["good"] for run in mine if run["seconds"] == self._seconds}
