"""Pictures of the results, as SVG that reads on light and dark pages alike."""

import math
import statistics
from collections.abc import Iterator
from html import escape

from bench.report import number
from bench.results import Results
from bench.rows.heartbeats import ONE_BY_ONE
from bench.rows.latency import WHAT as OPEN_LOOP
from bench.targets import Judged, Verdict, judge

_STYLE = """<style>
svg { --text: #24292f; --faint: #8c959f; --grid: #d0d7de; --good: #1a7f37;
  --fair: #0969da; --poor: #cf222e; --four: #9a6700; --five: #8250df; }
@media (prefers-color-scheme: dark) { svg { --text: #e6edf3; --faint: #8b949e;
  --grid: #3d444d; --good: #3fb950; --fair: #58a6ff; --poor: #f85149;
  --four: #d29922; --five: #bc8cff; } }
text { font: 13px system-ui, sans-serif; fill: var(--text); }
.title { font-size: 16px; font-weight: 600; }
.faint { fill: var(--faint); } .end { text-anchor: end; } .mid { text-anchor: middle; }
</style>"""
_COLOURS = {
    Verdict.GOAL: "var(--good)",
    Verdict.BAR: "var(--fair)",
    Verdict.SHORT: "var(--poor)",
}

_WIDTH = 960
_LEFT = 450
_RIGHT = 840
_TOP = 70
_STEP = 26


def ratios(results: Results) -> str:
    """Draw each row's figure against its bar: 1 is the bar, longer is better."""
    rows = [row for row in judge(results) if row.figure and row.target.bar]
    farthest = max((_against_bar(row, row.figure) for row in rows), default=2)
    scale = _Log(0.25, max(4, farthest), _LEFT, _RIGHT)
    height = _TOP + _STEP * len(rows) + 30
    bar = scale.at(1)
    drawn = [
        _text(20, 28, "Measured against what is asked: longer is better", "title"),
        _text(bar, _TOP - 14, "bar", "mid"),
        _line(bar, _TOP - 6, bar, height - 30, "var(--text)"),
    ]
    for number_, row in enumerate(rows):
        drawn += _ratio(row, _TOP + _STEP * number_, scale)
    return _svg(height, drawn, f"{results.commit}, {results.date}; | is the goal")


def latency(results: Results) -> str:
    """Draw latency by percentile: under a fixed rate, and at saturation."""
    lines = {"ours: 1,000/s, lists and sweeps beside": _latencies(results, OPEN_LOOP)}
    lines |= {
        f"{name}: at saturation": _latencies(results, ONE_BY_ONE, name)
        for name in ("ours", "bare", "naive", "etcd")
    }
    lines = {name: points for name, points in lines.items() if points}
    names = list(next(iter(lines.values()), {}))
    values = [value for points in lines.values() for value in points.values()]
    scale = _Log(0.5, max([100, *values]), 400, _TOP)
    drawn = [_text(20, 28, "Latency of a heartbeat, by percentile", "title")]
    for milliseconds in (1, 10, 100, 1_000, 10_000):
        if milliseconds <= scale.most:
            y = scale.at(milliseconds)
            drawn.append(_line(80, y, 600, y, "var(--grid)"))
            drawn.append(_text(72, y + 4, f"{milliseconds:,} ms", "end faint"))
    columns = [110 + 115 * column for column in range(len(names))]
    drawn += [
        _text(x, 424, name, "mid") for x, name in zip(columns, names, strict=True)
    ]
    colours = ("--good", "--fair", "--faint", "--poor", "--five")
    for at, (name, points) in enumerate(lines.items()):
        colour = f"var({colours[at]})"
        ys = [scale.at(value) for value in points.values()]
        path = " ".join(f"{x},{y:.1f}" for x, y in zip(columns, ys, strict=True))
        drawn.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}"'
            ' stroke-width="2.5"/>'
        )
        drawn.append(_line(620, _TOP + 24 * at, 644, _TOP + 24 * at, colour, 4))
        drawn.append(_text(652, _TOP + 24 * at + 4, name))
    return _svg(450, drawn, f"{results.commit}, {results.date}; medians of rounds")


class _Log:
    """A logarithmic scale from one pixel to another."""

    def __init__(self, least: float, most: float, start: float, end: float) -> None:
        self.most = most
        self._least = least
        self._start = start
        self._per_decade = (end - start) / math.log10(most / least)

    def at(self, value: float) -> float:
        """Return the pixel of a value; what is too small stands at the start."""
        above = math.log10(max(value, self._least) / self._least)
        return self._start + above * self._per_decade


def _against_bar(row: Judged, value: float | None) -> float:
    """Return how many times better than the bar a value is."""
    bar = row.target.bar
    if not bar or not value:
        return 0
    return bar / value if row.target.lower_is_better else value / bar


def _ratio(row: Judged, y: float, scale: _Log) -> Iterator[str]:
    end = scale.at(_against_bar(row, row.figure))
    colour = _COLOURS[row.verdict]
    yield _text(_LEFT - 10, y + 13, row.target.what, "end")
    yield (
        f'<rect x="{_LEFT}" y="{y + 2}" width="{max(end - _LEFT, 2):.1f}"'
        f' height="15" rx="2" fill="{colour}"/>'
    )
    goal = scale.at(_against_bar(row, row.target.goal))
    yield _line(goal, y, goal, y + 19, "var(--text)", 2)
    said = f"{number(row.figure)} {row.target.unit}"
    yield _text(max(end, goal) + 6, y + 14, said, "faint")


def _latencies(results: Results, what: str, name: str = "ours") -> dict[str, float]:
    """Return the medians over the rounds by percentile; none without rounds."""
    rounds = results.rounds.get(what, {}).get(name, [])
    seen = [one["latency_ms"] for one in rounds]
    names = seen[0] if seen else ()
    return {key: statistics.median(one[key] for one in seen) for key in names}


def _text(x: float, y: float, said: str, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(said)}</text>'


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1
) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        f' stroke="{colour}" stroke-width="{width}"/>'
    )


def _svg(height: float, drawn: list[str], foot: str) -> str:
    inside = "\n".join([_STYLE, *drawn, _text(20, height - 8, foot, "faint")])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
        f' role="img">\n{inside}\n</svg>\n'
    )
