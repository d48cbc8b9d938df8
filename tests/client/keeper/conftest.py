"""What the tests of keeping share."""

import pytest

from .world import World


@pytest.fixture
def world() -> World:
    """Return a world whose dice always show the most."""
    return World()
