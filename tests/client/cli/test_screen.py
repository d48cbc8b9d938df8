"""A fleet on a terminal."""

import io
from collections.abc import Callable

import pytest
from agent_registry_client import AgentInfo, Unreachable
from agent_registry_client.cli import screen
from agent_registry_client.cli.events import Watched
from agent_registry_client.cli.screen import Screen
from rich.console import Console

Make = Callable[..., AgentInfo]


@pytest.fixture
def console() -> Console:
    """Return a terminal of ten lines."""
    return Console(file=io.StringIO(), width=100, height=10)


@pytest.fixture
def draw(console: Console) -> Callable[[Screen], list[str]]:
    """Return a function that draws a screen."""

    def draw(shown: Screen) -> list[str]:
        with console.capture() as captured:
            console.print(shown.draw())
        return captured.get().splitlines()

    return draw


Draw = Callable[[Screen], list[str]]


def test_a_fleet_is_counted_and_listed(
    console: Console, draw: Draw, make_agent: Make
) -> None:
    """Nothing is marked at the first look."""
    shown = Screen(console)
    shown.show(Watched().saw([make_agent("a"), make_agent("b", status="late")]))

    headline, _, *rows = draw(shown)

    assert headline == "1 alive, 1 late"
    assert [row.split()[:2] for row in rows] == [["a", "alive"], ["b", "late"]]


def test_changes_are_marked_and_the_gone_shown_for_a_while(
    console: Console, draw: Draw, make_agent: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New, changed, gone; then all is plain."""
    shown, watched = Screen(console), Watched()
    shown.show(watched.saw([make_agent("a"), make_agent("b"), make_agent("c")]))
    shown.show(
        watched.saw([make_agent("b", status="late"), make_agent("c"), make_agent("d")])
    )
    marked = [row.split()[:2] for row in draw(shown)[2:]]
    monkeypatch.setattr(screen, "MARK_SECONDS", 0.0)
    plain = [row.split()[0] for row in draw(shown)[2:]]

    assert marked == [["-", "a"], ["*", "b"], ["c", "alive"], ["+", "d"]]
    assert plain == ["b", "c", "d"]


def test_deadlines_count_down_between_looks(
    console: Console, draw: Draw, make_agent: Make
) -> None:
    """By this machine's monotonic clock, from what the registry said was left."""
    shown = Screen(console)
    long_ago = iter([screen.time.monotonic() - 7]).__next__
    shown.show(Watched(clock=long_ago).saw([make_agent()]))

    assert draw(shown)[2].split()[:3] == ["a", "alive", "13s"]


def test_a_fleet_beyond_the_terminal_shows_what_goes_on(
    console: Console, draw: Draw, make_agent: Make
) -> None:
    """Changes first, then those unwell; the others are counted."""
    fleet = [make_agent(f"a-{number:02}") for number in range(20)]
    shown, watched = Screen(console), Watched()
    shown.show(watched.saw([*fleet, make_agent("y", status="late")]))
    shown.show(watched.saw([*fleet, make_agent("y", status="late"), make_agent("z")]))

    lines = draw(shown)

    assert len(lines) < 10
    assert [row.split()[:2] for row in lines[2:4]] == [["+", "z"], ["y", "late"]]
    assert lines[-1] == "and 17 more"


def test_a_registry_that_is_away_is_told_with_the_age_of_the_news(
    console: Console, draw: Draw, make_agent: Make
) -> None:
    """Above the last that was seen."""
    shown, watched = Screen(console), Watched()
    shown.show(watched.saw([make_agent()]))
    shown.show(watched.missed(Unreachable("nobody answers")))

    lines = draw(shown)

    assert lines[0] == "1 alive  as of 0 s ago: nobody answers"
    assert lines[2].startswith("a ")


def test_a_screen_that_saw_nothing_is_empty(console: Console, draw: Draw) -> None:
    """Until its first look."""
    assert "".join(draw(Screen(console))).strip() == ""
