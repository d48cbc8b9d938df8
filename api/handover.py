"""Handing work to the store's threads, and awaiting it."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from store import AgentRegistryRepository

P = ParamSpec("P")
T = TypeVar("T")


async def hand(
    repo: AgentRegistryRepository,
    method: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Await `method` of `repo` without holding a thread of the server meanwhile."""
    return await asyncio.wrap_future(repo.submit(method, *args, **kwargs))
