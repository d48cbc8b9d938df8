"""Which core does what: servers on one, the generators on another."""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

_AVAILABLE = sorted(os.sched_getaffinity(0))
#: Where servers run, and what is measured without one.
SERVER_CORE = _AVAILABLE[0]
#: Where load is generated; the same core where there is only one.
GENERATOR_CORE = _AVAILABLE[1 % len(_AVAILABLE)]


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Run this thread, and the processes it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def worker(core: int) -> Iterator[Executor]:
    """Yield an executor whose one process runs on a core of its own."""
    with ProcessPoolExecutor(
        max_workers=1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=os.sched_setaffinity,
        initargs=(0, {core}),
    ) as executor:
        yield executor
