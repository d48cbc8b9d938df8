"""The guard against mass expiry."""

from datetime import UTC, datetime, timedelta

import pytest

from store.guard import GuardRules, Hold, Level, Verdict, released, verdict

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = GuardRules()


def after(seconds: float) -> datetime:
    """Return the instant so many seconds past noon."""
    return NOON + timedelta(seconds=seconds)


def held(level: Level = Level.PART, seconds: float = 300, cap: int = 15) -> Hold:
    """Return a hold that began at noon."""
    return Hold(NOON, after(seconds), level, cap)


@pytest.mark.parametrize(
    ("total", "cap"),
    [(0, 10), (5, 10), (66, 10), (67, 11), (100, 15), (101, 16), (140, 21)],
)
def test_the_cap_is_a_part_of_the_fleet_but_never_small(total: int, cap: int) -> None:
    """15 %, rounded up, and at least ten."""
    assert RULES.cap(total) == cap


@pytest.mark.parametrize(("due", "total"), [(0, 0), (3, 3), (10, 12), (15, 100)])
def test_few_are_let_go(due: int, total: int) -> None:
    """Up to the cap nobody is held."""
    assert verdict(due, total, NOON, hold=None, rules=RULES) == Verdict(due, None)


@pytest.mark.parametrize(
    ("due", "level", "seconds"),
    [(16, Level.PART, 300), (54, Level.PART, 300), (55, Level.MOST, 3600)],
)
def test_many_are_held(due: int, level: Level, seconds: float) -> None:
    """Five minutes for a part of the fleet, an hour for most of it."""
    judged = verdict(due, 100, NOON, hold=None, rules=RULES)

    assert judged == Verdict(0, Hold(NOON, after(seconds), level, 15))
    assert judged.holds


@pytest.mark.parametrize("due", [1, 15, 16, 54])
def test_a_hold_lasts_until_its_end(due: int) -> None:
    """Also for those few who have not come back when most have."""
    assert verdict(due, 100, after(299), hold=held(), rules=RULES) == Verdict(0, held())


def test_a_hold_of_nobody_ends() -> None:
    """All came back."""
    assert not verdict(0, 100, after(10), hold=held(), rules=RULES).holds


def test_after_a_hold_they_go_at_the_cap_of_its_beginning() -> None:
    """Not all at once, and no slower as the fleet shrinks."""
    first = verdict(30, 100, after(300), hold=held(), rules=RULES)
    last = verdict(15, 30, after(360), hold=held(), rules=RULES)

    assert first == Verdict(15, held())
    assert last == Verdict(15, None)


def test_a_hold_ends_although_the_fleet_has_grown() -> None:
    """A night's cap of ten, and by day twenty of 3,000 die between two sweeps."""
    night = held(cap=10)

    assert verdict(32, 3000, after(300), hold=night, rules=RULES) == Verdict(32, None)


def test_a_hold_grows_once_to_the_long_one() -> None:
    """When most of the fleet turns out to be concerned; counted from its beginning."""
    grown = verdict(55, 100, after(120), hold=held(), rules=RULES)

    assert grown == Verdict(0, held(Level.MOST, 3600))
    assert grown.hold is not None
    over = verdict(100, 100, after(3600), hold=grown.hold, rules=RULES)
    assert over == Verdict(15, grown.hold)


def test_a_released_hold_lets_all_of_it_go() -> None:
    """And with them it is over: who is due later is judged anew."""
    hold = released(80, after(10))

    assert verdict(80, 100, after(11), hold=hold, rules=RULES) == Verdict(80, None)
    assert verdict(95, 100, after(11), hold=hold, rules=RULES) == Verdict(80, None)


def test_a_hold_moves_with_lease_time() -> None:
    """While nobody can be heard, its end comes no nearer."""
    moved = held().moved(timedelta(hours=-1))

    assert (moved.since, moved.until) == (after(-3600), after(-3300))
