"""The rows of the target table, one module for each family of them."""

from collections.abc import Callable

from bench.rows import (
    authenticated,
    bulk,
    growth,
    heartbeats,
    latency,
    listing,
    memory,
    registering,
    restarting,
    sweeping,
)
from bench.run import Run

Row = Callable[[Run], None]

#: What `make bench` measures.
ROWS: tuple[Row, ...] = (
    heartbeats.one_by_one,
    heartbeats.on_new_connections,
    authenticated.with_a_token,
    authenticated.over_tls,
    bulk.ten_thousand_a_call,
    latency.under_load,
    listing.whole,
    listing.page_of_100k,
    registering.new_agents,
    memory.over_1m_beats,
    restarting.after_a_kill,
)

#: What `make bench-full` measures besides: the rows with a million agents.
FULL_ROWS: tuple[Row, ...] = (
    memory.over_10m_beats,
    growth.of_beats,
    listing.page_of_1m,
    sweeping.nothing_among_1m,
    sweeping.a_tenth_of_1m,
)
