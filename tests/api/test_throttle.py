"""How often an owner may register."""

import itertools

import pytest

from api.errors import ProblemError
from api.throttle import Throttle


class Seconds:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_a_burst_is_let_through_and_then_the_rate() -> None:
    """A rest fills the bucket, not more."""
    clock = Seconds()
    throttle = Throttle(per_second=0.5, burst=3, monotonic=clock)

    def taken() -> int:
        for done in itertools.count():
            try:
                throttle.take("billing")
            except ProblemError:
                return done
        raise AssertionError

    assert taken() == 3
    clock.now += 2
    assert taken() == 1
    clock.now += 3_600
    assert taken() == 3


def test_a_refusal_says_when_there_is_room_again() -> None:
    """In whole seconds, never too early."""
    throttle = Throttle(per_second=0.4, burst=1, monotonic=Seconds())
    throttle.take("billing")

    with pytest.raises(ProblemError) as refused:
        throttle.take("billing")

    assert refused.value.code == "too_many_registrations"
    assert refused.value.headers == {"Retry-After": "3"}


def test_owners_do_not_share_a_bucket() -> None:
    """One that floods keeps nobody else from registering."""
    throttle = Throttle(per_second=1, burst=1, monotonic=Seconds())
    throttle.take("flood")
    with pytest.raises(ProblemError):
        throttle.take("flood")

    throttle.take("billing")
