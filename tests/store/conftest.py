"""What the store's tests may ask for: every implementation, and a frozen clock."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from store import Storage, create_storage_backend


def _sqlite(folder: Path, **options: Any) -> Storage:
    return create_storage_backend(f"sqlite:///{folder}/registry.db", **options)


#: Another implementation is one more line here.
_IMPLEMENTATIONS = {"sqlite": _sqlite}


@pytest.fixture(params=_IMPLEMENTATIONS.values(), ids=_IMPLEMENTATIONS.keys())
def make_storage(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., Storage]]:
    """Return a function that opens the test's one database, closed afterwards."""
    with ExitStack() as opened:

        def make(**options: Any) -> Storage:
            storage: Storage = request.param(tmp_path, **options)
            opened.callback(storage.database.close)
            return storage

        yield make


@pytest.fixture
def storage(make_storage: Callable[..., Storage]) -> Storage:
    """Open a store of each implementation; `repo` is its repository."""
    return make_storage()


@pytest.fixture
def frozen() -> Iterator[FrozenDateTimeFactory]:
    """Freeze time at noon; the test moves it."""
    with freeze_time("2026-03-01 12:00:00") as frozen:
        yield frozen
