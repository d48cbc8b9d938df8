"""The lease clock, on clocks that the test steps."""

from datetime import UTC, datetime, timedelta

import pytest

from daemon.lease_clock import GAP_SECONDS, Cause, LeaseClock, Standstill
from store import Listening

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Machine:
    """A wall clock and a running time; a test moves them together or apart."""

    def __init__(self) -> None:
        self.wall = NOON
        self.running = 1000.0

    def run(self, seconds: float, *, step: float = 0) -> None:
        """Let time pass, and step the wall clock besides."""
        self.wall += timedelta(seconds=seconds + step)
        self.running += seconds


@pytest.fixture
def machine() -> Machine:
    """Return a machine at noon."""
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> LeaseClock:
    """Return a lease clock of `machine` that has run for a minute."""
    clock = LeaseClock(wall=lambda: machine.wall, running=lambda: machine.running)
    for _ in range(120):
        machine.run(0.5)
        clock.turn(hears=True)
    return clock


def test_lease_time_is_the_wall_clocks(clock: LeaseClock, machine: Machine) -> None:
    """While it is turned, and beats are heard."""
    for _ in range(100):
        machine.run(0.5)
        clock.turn(hears=True)
        machine.run(GAP_SECONDS - 0.6)

        assert clock.now() == machine.wall
        clock.turn(hears=True)
    assert clock.standstill is None


@pytest.mark.parametrize("step", [-0.4, 0.4])
def test_a_drift_is_no_step(clock: LeaseClock, machine: Machine, step: float) -> None:
    """NTP slews a clock; that ends no lease."""
    machine.run(1, step=step)

    assert clock.now() == machine.wall


@pytest.mark.parametrize(
    ("seconds", "step", "cause"),
    [
        (12, 0, Cause.GAP),
        (GAP_SECONDS + 0.001, 0, Cause.GAP),
        (0.1, 3600, Cause.STEP_FORWARD),
        (0.1, -3600, Cause.STEP_BACK),
        (300, -300, Cause.STEP_BACK),  # a pause of which the wall clock knows nothing
        (0, 300, Cause.STEP_FORWARD),  # suspended, and only the wall clock knows
    ],
)
def test_lease_time_stands_still_at_the_last_turn(
    clock: LeaseClock, machine: Machine, seconds: float, step: float, cause: Cause
) -> None:
    """It is found whenever lease time is asked for, and stands until the re-arm."""
    last_heard = machine.wall

    machine.run(seconds, step=step)

    assert clock.now() == last_heard
    clock.turn(hears=True)
    machine.run(30)
    assert clock.now() == last_heard
    assert clock.standstill == Standstill(last_heard, cause)


def test_who_is_not_heard_is_not_late(clock: LeaseClock, machine: Machine) -> None:
    """Turning is not enough: beats must be received."""
    last_heard = machine.wall

    for _ in range(5):
        machine.run(0.5)
        clock.turn(hears=False)

    assert clock.standstill == Standstill(last_heard, Cause.STALL)


def test_a_pause_is_a_gap_also_where_a_beat_waited(
    clock: LeaseClock, machine: Machine
) -> None:
    """Nobody turned the clock meanwhile, which a stall does not prevent."""
    last_heard = machine.wall
    machine.run(0.5)
    clock.turn(hears=False)

    machine.run(12)

    assert clock.standstill == Standstill(last_heard, Cause.GAP)


def test_what_is_known_to_fail_is_a_stall_at_once(
    clock: LeaseClock, machine: Machine
) -> None:
    """There is no need to see whether it becomes a gap."""
    last_heard = machine.wall
    machine.run(0.5)

    clock.turn(hears=False, fails=True)

    assert clock.standstill == Standstill(last_heard, Cause.STALL)


def test_a_short_stall_is_none(clock: LeaseClock, machine: Machine) -> None:
    """Within two seconds it is over, and lease time never stood still."""
    for hears in (False, False, False, True, False, False, False, True):
        machine.run(0.5)
        clock.turn(hears=hears)

        assert clock.now() == machine.wall


def test_a_pause_at_the_start_of_a_stall_is_part_of_it(
    clock: LeaseClock, machine: Machine
) -> None:
    """The turn behind it hears what was asked before it, and answered before it too."""
    machine.run(1.4)
    clock.turn(hears=True)
    for _ in range(2):
        machine.run(0.5)
        clock.turn(hears=False)
    before = clock.standstill
    machine.run(0.21)

    assert before is None
    assert clock.standstill is not None
    assert clock.standstill.cause is Cause.STALL


def test_it_begins_where_the_process_before_it_stopped(machine: Machine) -> None:
    """Down-time is a gap."""
    clock = LeaseClock(wall=lambda: machine.wall, running=lambda: machine.running)

    clock.begin(Listening(NOON - 90 * SECOND, NOON - 60 * SECOND))

    assert clock.now() == NOON - 60 * SECOND
    assert clock.standstill == Standstill(NOON - 60 * SECOND, Cause.START)


def test_before_it_begins_it_is_the_wall_clock(machine: Machine) -> None:
    """Where nobody turns it, it must not stand still."""
    clock = LeaseClock(wall=lambda: machine.wall, running=lambda: machine.running)

    machine.run(10, step=3600)

    assert clock.now() == machine.wall


def test_it_runs_at_once_where_there_was_none(machine: Machine) -> None:
    """A new registry has no lease to keep."""
    clock = LeaseClock(wall=lambda: machine.wall, running=lambda: machine.running)

    clock.begin(None)

    assert clock.now() == machine.wall


def test_after_the_rearm_it_runs_again(clock: LeaseClock, machine: Machine) -> None:
    """From then on it has listened anew, and whoever read before reads again."""
    machine.run(10)
    assert clock.standstill is not None
    before = clock.generation

    clock.begin_rearm()
    machine.run(1)
    assert clock.resume()

    assert clock.now() == machine.wall
    assert clock.generation != before
    machine.run(1)
    clock.turn(hears=True)
    assert clock.listening() == Listening(machine.wall - SECOND, machine.wall)


@pytest.mark.parametrize(("seconds", "step"), [(3, 0), (0.1, 60), (0.1, -60)])
def test_what_happens_during_a_rearm_spoils_it(
    clock: LeaseClock, machine: Machine, seconds: float, step: float
) -> None:
    """Lease time goes on standing still where it stood, until one goes undisturbed."""
    machine.run(10)
    stood_at = clock.now()

    clock.begin_rearm()
    machine.run(seconds, step=step)

    assert clock.disturbed
    assert not clock.resume()
    assert clock.now() == stood_at
    clock.begin_rearm()
    assert clock.resume()


def test_while_it_stands_still_nobody_was_heard_since(
    clock: LeaseClock, machine: Machine
) -> None:
    """What is stored then lets the next process re-arm the same leases."""
    last_heard = machine.wall
    machine.run(10)
    clock.turn(hears=True)

    assert clock.listening() == Listening(last_heard, last_heard)


def test_a_thread_held_up_between_the_clocks_is_no_step() -> None:
    """Reading two clocks takes a moment, which on a busy machine may be long."""
    machine = Machine()
    readings = 0

    def wall() -> datetime:
        nonlocal readings
        readings += 1
        if readings % 2:
            machine.run(1.2)
        return machine.wall

    clock = LeaseClock(wall=wall, running=lambda: machine.running)
    for _ in range(10):
        clock.turn(hears=True)

    assert clock.standstill is None
