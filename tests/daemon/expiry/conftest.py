"""What the tests of the sweep share."""

import pytest

from .stopwatch import Stopwatch


@pytest.fixture
def stopwatch() -> Stopwatch:
    """Return the clock of `sweep`."""
    return Stopwatch()
