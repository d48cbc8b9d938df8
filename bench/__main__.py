"""`python -m bench [full | quick | report]`: measure, guard, or show again."""

import argparse
import signal
import sys
from pathlib import Path
from typing import NoReturn

from bench import picture, report
from bench.cores import GENERATOR_CORE, SERVER_CORE
from bench.quick import quick
from bench.results import FOLDER, FULL, LATEST, Results
from bench.rows import FULL_ROWS, ROWS
from bench.run import FAILURES, started

_ROUNDS = 5
#: Where the last tables stand for readers.
_DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=("bench", "full", "quick", "report", "report-full"),
        default="bench",
        help="bench: under ten minutes; full: the rows with a million agents too; "
        "quick: under a minute, fails when a ratio does not hold; "
        "report, report-full: the table and pictures of the last results; a table goes "
        "into docs/performance.md too, where it has its place there",
    )
    what = parser.parse_args().what
    # As an exit, SIGTERM too ends every process that was started.
    signal.signal(signal.SIGTERM, _exit)
    if SERVER_CORE == GENERATOR_CORE:
        print("One core only: servers and the load generator share it.")
    if what == "quick":
        sys.exit(0 if quick() else 1)
    if what.startswith("report"):
        results = Results.load(FULL if what == "report-full" else LATEST)
    else:
        results = _measure(full=what == "full")
    _report(results)
    sys.exit(1 if results.failures else 0)


def _measure(*, full: bool) -> Results:
    results = Results(full=full)
    with started(results, rounds=_ROUNDS) as run:
        for row in ROWS + (FULL_ROWS if full else ()):
            try:
                row(run)
            except FAILURES as failure:
                name = f"{row.__module__}.{row.__qualname__}"
                run.say(f"{name} failed: {failure}")
                results.failures[name] = str(failure)
        run.say("done")
        results.seconds = run.seconds
    results.save()
    return results


def _report(results: Results) -> None:
    (FOLDER / "ratios.svg").write_text(picture.ratios(results))
    (FOLDER / "latency.svg").write_text(picture.latency(results))
    for line in report.lines(results):
        print(line)
    _DOCUMENT.write_text(report.with_table(_DOCUMENT.read_text(), results))


def _exit(_number: int, _frame: object) -> NoReturn:
    sys.exit(1)


if __name__ == "__main__":
    main()
