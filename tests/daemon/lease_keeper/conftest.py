"""What the tests of keeping leases share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """Return a registry that has listened for a minute."""
    registry = Registry(tmp_path)
    registry.run(60)
    yield registry
    registry.kill()
