"""The target table as text."""

import statistics
from collections.abc import Iterator

from bench.results import Results
from bench.rows.latency import WHAT as OPEN_LOOP
from bench.targets import Judged, judge

_WIDTH = 64
#: Share of its core above which a generator has no more to give.
_BUSY = 0.95


def lines(results: Results) -> Iterator[str]:
    """Yield the lines of the report."""
    yield ""
    yield _line("what", "median", "least - most", "bar", "goal")
    for row in judge(results):
        yield _row(row)
    yield ""
    yield f"commit {results.commit}, {results.date}, in {results.seconds:.0f} s"
    yield ", ".join(f"{name} {value}" for name, value in results.machine.items())
    yield ", ".join(f"{name} {value}" for name, value in results.versions.items())
    if limited := sorted(_limited_by_generator(results)):
        yield f"The load generator was the limit for: {', '.join(limited)}."
    for name, reason in results.failures.items():
        yield f"FAILED {name}: {reason}"
    if results.machine["cores"] == "1":
        yield "One core: servers and load generator shared it; the figures mean little."


def with_table(document: str, results: Results) -> str:
    """Return a document with the report of these results between its markers.

    They are comments, one pair for each kind of run: `<!-- bench -->`, or
    `<!-- bench-full -->`, and the same with a slash. A document without them stays.
    """
    name = "bench-full" if results.full else "bench"
    before, begin, rest = document.partition(f"<!-- {name} -->")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    if not end:
        return document
    table = "\n".join(lines(results)).strip()
    return f"{before}{begin}\n```text\n{table}\n```\n{end}{after}"


def _limited_by_generator(results: Results) -> Iterator[str]:
    """Yield who could have done more than was asked of it."""
    for what, subjects in results.rounds.items():
        for name, rounds in subjects.items():
            busy = [seen.get("generator_busy", 0) for seen in rounds]
            # An open loop is always busy: it turns without sleeping.
            if what != OPEN_LOOP and statistics.median(busy) > _BUSY:
                yield f"{name} ({what})"


def _row(row: Judged) -> str:
    what, unit = row.target.what, row.target.unit
    if row.figure is None or row.least is None or row.most is None:
        return f"{what:<{_WIDTH}} {row.verdict}: {row.reason}"
    figure = f"{number(row.figure)} {unit}"
    spread = f"{number(row.least)} - {number(row.most)}"
    bar, goal = number(row.target.bar), number(row.target.goal)
    return f"{_line(what, figure, spread, bar, goal)}  {row.verdict}"


def _line(what: str, figure: str, spread: str, bar: str, goal: str) -> str:
    return f"{what:<{_WIDTH}} {figure:>15} {spread:>19} {bar:>9} {goal:>9}"


def number(value: float | None) -> str:
    """Return a figure with three digits that count; nothing for None."""
    if value is None:
        return ""
    if abs(value) >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    return f"{value:.3g}"
