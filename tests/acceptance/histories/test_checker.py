"""The checker of histories: it knows a right one from a wrong one."""

from collections.abc import Callable
from typing import Any

import pytest

RIGHT = {
    "in turn": [
        ("register", 1, "created", 0, 1),
        ("beat", 0, "done", 2, 3),
        ("register", 2, "updated", 3, 3.1),
        ("get", 0, 2, 3.2, 3.3),
        ("delete", 0, "done", 3.4, 3.5),
        ("beat", 0, None, 3.6, 3.7),
    ],
    "two at once, either first": [
        ("register", 1, "created", 0, 0.1),
        ("delete", 0, "done", 0.2, 0.5),
        ("get", 0, 1, 0.2, 0.5),
    ],
    "the one that began last was first": [
        ("register", 2, "updated", 0, 0.5),
        ("register", 1, "created", 0.1, 0.4),
        ("get", 0, 2, 0.6, 0.7),
    ],
    "swept after its TTL": [
        ("register", 1, "created", 0, 0.1),
        ("beat", 0, None, 1, 1.1),
    ],
    "revived after its TTL": [
        ("register", 1, "created", 0, 0.1),
        ("register", 2, "revived", 1, 1.1),
    ],
}
WRONG = {
    "a beat of nobody": [("beat", 0, "done", 0, 1)],
    "gone before its TTL": [
        ("register", 1, "created", 0, 0.1),
        ("beat", 0, "done", 0.2, 0.3),
        ("get", 0, None, 1.1, 1.15),
    ],
    "an old answer": [
        ("register", 1, "created", 0, 0.1),
        ("register", 2, "updated", 0.2, 0.3),
        ("get", 0, 1, 0.4, 0.5),
    ],
    "deleted twice": [
        ("register", 1, "created", 0, 0.1),
        ("delete", 0, "done", 0.2, 0.5),
        ("delete", 0, "done", 0.2, 0.5),
    ],
    "there after it was deleted": [
        ("register", 1, "created", 0, 0.1),
        ("delete", 0, "done", 0.2, 0.3),
        ("get", 0, 1, 0.4, 0.5),
    ],
    "revived within its TTL": [
        ("register", 1, "created", 0, 0.1),
        ("register", 2, "revived", 0.5, 0.6),
    ],
    "updated after its TTL": [
        ("register", 1, "created", 0, 0.1),
        ("register", 2, "updated", 1.2, 1.3),
    ],
}


@pytest.mark.parametrize("calls", RIGHT.values(), ids=RIGHT)
def test_a_history_that_an_order_explains_is_right(
    Call: Callable[..., Any],  # noqa: N803 - a class
    is_linearizable: Callable[..., bool],
    calls: list[tuple[Any, ...]],
) -> None:
    """Whichever of the calls that overlap came first."""
    assert is_linearizable([Call(*call) for call in calls])


@pytest.mark.parametrize("calls", WRONG.values(), ids=WRONG)
def test_a_history_that_no_order_explains_is_wrong(
    Call: Callable[..., Any],  # noqa: N803 - a class
    is_linearizable: Callable[..., bool],
    calls: list[tuple[Any, ...]],
) -> None:
    """An answer that is out of date, out of thin air, or too early."""
    assert not is_linearizable([Call(*call) for call in calls])
