"""`make soak`: runs one seed after the other, and says how to replay what went wrong.

make soak                                  # the long forms of seeds 1 to 100; goes on where it was
make soak ARGS="--runs 60"                 # those of seeds 1 to 60
make soak ARGS="--seed 123"                # one run, whatever the journal says
make soak ARGS="--minutes 3 --seconds 12"  # as many seeds as the time holds, at least four
"""

import argparse
import itertools
import random
import shutil
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from runtime import logs
from runtime.settings import Settings
from soak.journal import Journal
from soak.plan import draw
from soak.run import Result, run

_LONG_SECONDS: Final = 60.0
_LONG_RUNS: Final = 100
_AT_LEAST: Final = 4


def main(arguments: list[str]) -> int:
    """Run what is asked for; return 1 when a run was not good."""
    options = _parser().parse_args(arguments)
    # What the engine's own clients have to say of killed servers is not news.
    logs.configure(Settings(log_level="error", _env_file=None))
    journal = Journal(options.folder / "journal.jsonl", options.seconds)
    results: list[Result] = []
    try:
        for seed in _seeds(options, journal, results):
            results.append(_run_one(seed, options, journal))  # noqa: PERF401 - the seeds look at it
    except KeyboardInterrupt:
        _say("interrupted: the same command goes on with what is left")
        return 130
    bad = _bad_before(options, journal) | {each.plan.seed for each in results if not each.good}
    for seed in sorted(bad):
        _say(f"seed {seed} failed: {_replay(seed, options.seconds)}")
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, help="run this one seed, again if need be")
    parser.add_argument("--minutes", type=float, help="run new seeds for so long, at least four")
    parser.add_argument("--first", type=int, default=1, help="the first seed of the long forms")
    parser.add_argument("--runs", type=int, default=_LONG_RUNS, help="how many seeds there are")
    parser.add_argument("--seconds", type=float, default=_LONG_SECONDS, help="a run's chaos")
    parser.add_argument("--keep", action="store_true", help="keep the logs of good runs too")
    parser.add_argument("--folder", type=Path, default=Path(".pagestream/soak"), help="for logs")
    return parser


def _seeds(options: argparse.Namespace, journal: Journal, results: list[Result]) -> Iterable[int]:
    if options.seed is not None:
        return [options.seed]
    if options.minutes is not None:
        return _seeds_for(options.minutes * 60, results)
    done = journal.good() | journal.bad()
    return [seed for seed in _long_seeds(options) if seed not in done]


def _bad_before(options: argparse.Namespace, journal: Journal) -> set[int]:
    """Return the seeds of the long forms that failed when this was started before."""
    is_long = options.seed is None and options.minutes is None
    return journal.bad() & set(_long_seeds(options)) if is_long else set()


def _long_seeds(options: argparse.Namespace) -> range:
    return range(options.first, options.first + options.runs)


def _seeds_for(seconds: float, results: list[Result]) -> Iterator[int]:
    """Yield seeds that nobody has seen, for so long as one more is likely to be done in time.

    At least four that are not spoilt, but twice as many at most.
    """
    began = time.monotonic()
    for count in itertools.count(1):
        yield random.SystemRandom().randrange(1 << 31)
        lasted = time.monotonic() - began
        enough = sum(not result.spoilt for result in results) >= _AT_LEAST or count >= 2 * _AT_LEAST
        if enough and lasted * (count + 1) / count > seconds:
            return


def _run_one(seed: int, options: argparse.Namespace, journal: Journal) -> Result:
    plan = draw(seed, options.seconds)
    folder: Path = options.folder / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    judged = (
        f"verdicts within {plan.verdict_timeout:g} s" if plan.verdict_timeout else "no verdicts"
    )
    _say(
        f"seed {seed}: {len(plan.sites)} sites, {plan.rows} rows a response, batch {plan.batch}, "
        f"{judged}, {len(plan.faults)} faults, {len(plan.troubles)} troubles of the source, "
        f"{sum(1 + len(order.again) for order in plan.orders)} commands"
    )
    try:
        result = run(plan, folder, _say)
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to this seed
        trace = "".join(traceback.format_exception(error))
        result = Result(plan, findings=[f"the run itself broke off: {trace}"])
    journal.note(result)
    verdict = "NOT GOOD" if not result.good else "SPOILT" if result.spoilt else "good"
    _say(f"seed {seed}: {verdict}; {result}")
    for line in (*result.last_words, *result.findings, *filter(None, [result.spoilt])):
        _say(f"  {line}")
    if not result.good or result.spoilt or options.keep:
        _say(f"  logs in {folder}; {_replay(seed, options.seconds)}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _replay(seed: int, seconds: float) -> str:
    return f'run it again: make soak ARGS="--seed {seed} --seconds {seconds:g}"'


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
