"""The guard against mass expiry."""

import random
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


@pytest.mark.parametrize("due", [1, 15, 16, 54])
def test_a_hold_lasts_until_its_end(due: int) -> None:
    """Also for those few who have not come back when most have."""
    assert verdict(due, 100, after(299), hold=held(), rules=RULES) == Verdict(0, held())


def test_a_hold_of_nobody_ends() -> None:
    """All came back."""
    assert not verdict(0, 100, after(10), hold=held(), rules=RULES).hold


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

    assert verdict(80, 200, after(11), hold=hold, rules=RULES) == Verdict(80, None)
    few = verdict(98, 200, after(11), hold=hold, rules=RULES, fresh=18)
    assert few == Verdict(98, None)


def test_who_is_cut_off_after_a_release_is_held() -> None:
    """Those who were released go, all of them, and are dead for readers."""
    hold = released(100, after(10))

    judged = verdict(100, 200, after(11), hold=hold, rules=RULES, fresh=60)

    anew = Hold(after(11), after(311), Level.PART, 24)
    assert judged == Verdict(40, anew, follows=after(10))
    assert judged.held_after(after(11)) == after(10)


@pytest.mark.parametrize(
    ("own", "fresh", "expected"),
    [
        (16, 30, Verdict(15, held())),
        (15, 30, Verdict(15, Hold(after(360), after(660), Level.PART, 13), after(300))),
        (10, 6, Verdict(10, held())),
        (10, 5, Verdict(15, None)),
    ],
    ids=["many and many", "the last and many", "few and few", "and no more"],
)
def test_who_falls_due_after_a_hold_is_judged_anew(
    own: int, fresh: int, expected: Verdict
) -> None:
    """Once its last go, that is: until then all are held, and its own go first."""
    judged = verdict(
        own + fresh, 100, after(360), hold=held(), rules=RULES, fresh=fresh
    )

    assert judged == expected


@pytest.mark.parametrize(("least", "most"), [(16, 16), (40, 40), (0, 60)])
def test_nobody_is_held_by_two_holds(least: int, most: int) -> None:
    """However many fall silent before each sweep, one waits for three things at most.

    For the last of the hold before, seven sweeps of 15; for an hour; and for those of
    its own hold who were due earlier, seven sweeps once more.
    """
    chance = random.Random(7)  # noqa: S311 - a simulation
    fleet, sweep = 100, 60
    silent: list[int] = []
    hold = None
    longest = 0
    for at in range(0, 1000 * sweep, sweep):
        silent += [at] * min(chance.randint(least, most), fleet - len(silent))
        ended = hold.until if hold else NOON
        fresh = len([one for one in silent if after(one) > ended])
        take, held_by, follows = verdict(
            len(silent), fleet, after(at), hold=hold, rules=RULES, fresh=fresh
        )
        hold = None if follows else held_by
        assert take <= RULES.cap(fleet)
        longest = max([longest, *(at - one for one in silent[:take])])
        silent = silent[take:]

    assert 3600 <= longest <= (7 + 60 + 7) * sweep


def test_a_hold_moves_with_lease_time() -> None:
    """While nobody can be heard, its end comes no nearer."""
    back, on = (held().moved(after(299), after(299 + by)) for by in (-3600, 100))

    assert (back.since, back.until) == (after(-3600), after(-3300))
    assert (on.since, on.until) == (after(100), after(400))


def test_a_hold_that_is_over_stays_with_its_own() -> None:
    """Deadlines in the past stay too, unless the clock was set back behind them."""
    hold = held()

    assert hold.moved(after(300), after(1000)) == hold
    assert hold.moved(after(400), after(350)) == hold
    assert hold.moved(after(400), after(100)).until == after(100)
    assert hold.moved(after(400), after(-50))[:2] == (after(-50), after(-50))
