import pytest

from bench.results import Results
from bench.targets import TARGETS, Target, Verdict, judge, verdict

MORE = Target("more", "a ratio", "x", bar=2, goal=3)
LESS = Target("less", "a time", "ms", bar=25, goal=10, lower_is_better=True)
SHOWN = Target("shown", "a peer", "x")


@pytest.mark.parametrize(
    ("target", "figure", "expected"),
    [
        (MORE, 3, Verdict.GOAL),
        (MORE, 2.99, Verdict.BAR),
        (MORE, 2, Verdict.BAR),
        (MORE, 1.99, Verdict.SHORT),
        (LESS, 10, Verdict.GOAL),
        (LESS, 10.1, Verdict.BAR),
        (LESS, 25, Verdict.BAR),
        (LESS, 25.1, Verdict.SHORT),
        (SHOWN, 0.01, Verdict.SHOWN),
    ],
)
def test_a_figure_is_judged_by_bar_and_goal(
    target: Target, figure: float, expected: Verdict
) -> None:
    """What just meets a bar or a goal meets it, whichever way is better."""
    assert verdict(target, figure) is expected


def test_the_median_of_the_rounds_counts(results: Results) -> None:
    """One bad round neither fails a row nor is hidden."""
    rows = {row.target.key: row for row in judge(results)}

    assert rows["open_p99"][1:5] == (Verdict.BAR, 12.0, 9.0, 26.0)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("beat_consul", "no consul on PATH"),
        ("sweep_nothing", "in make bench-full"),
        ("beat_etcd", "not measured"),
    ],
)
def test_what_was_not_measured_says_why(
    results: Results, key: str, reason: str
) -> None:
    """A row without figures is absent, and never passes."""
    rows = {row.target.key: row for row in judge(results)}

    assert (rows[key].verdict, rows[key].reason) == (Verdict.ABSENT, reason)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.key)
def test_a_goal_is_no_easier_than_its_bar(target: Target) -> None:
    """Who reaches the goal holds the bar."""
    if target.bar is not None and target.goal is not None:
        less, more = sorted((target.bar, target.goal))
        assert (target.goal, target.bar)[target.lower_is_better] == more or less == more
