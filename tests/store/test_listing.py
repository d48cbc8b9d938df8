"""What every repository does, whatever database is behind it: the lists."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import pytest

from store import AgentFilter, AgentPage, AgentRecord, AgentRegistryRepository
from store.leases import Status

MakeRecord = Callable[..., AgentRecord]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def ids(page: AgentPage) -> list[str]:
    """Return the ids on a page, in its order."""
    return [agent["agent_id"] for agent in json.loads(page.body)]


@pytest.fixture
def found(repo: AgentRegistryRepository) -> Callable[..., list[str]]:
    """Return a function that lists the ids matching a filter's fields at noon."""
    return lambda **agents: ids(repo.list_page(AgentFilter(**agents), now=NOON))


@pytest.fixture
def at_noon(make_record: MakeRecord) -> MakeRecord:
    """Return a function that builds records heard at noon."""
    return lambda *args, **over: make_record(*args, **{"last_heartbeat": NOON} | over)


class TestOrder:
    def test_lists_are_ordered_by_code_point(
        self, repo: AgentRegistryRepository, at_noon: MakeRecord
    ) -> None:
        """Capitals before small letters, and a prefix before what it begins."""
        for agent_id in ("b", "a~", "a", "B", "_", "a-1", "a.1", "a10", "a2", "a:"):
            repo.add(at_noon(agent_id))

        ordered = ["B", "_", "a", "a-1", "a.1", "a10", "a2", "a:", "a~", "b"]
        assert [agent.agent_id for agent in repo.list_all(include_dead=True)] == ordered
        assert ids(repo.list_page(AgentFilter(), now=NOON)) == ordered

    def test_pages_follow_each_other_without_gap_or_overlap(
        self, repo: AgentRegistryRepository, at_noon: MakeRecord
    ) -> None:
        """Each page starts behind the last id of the one before."""
        for agent_id in ("c", "a", "B", "e", "d"):
            repo.add(at_noon(agent_id))

        pages = [repo.list_page(AgentFilter(), now=NOON, limit=2)]
        while (after := pages[-1].next_after) is not None:
            pages.append(repo.list_page(AgentFilter(), now=NOON, after=after, limit=2))

        assert [ids(page) for page in pages] == [["B", "a"], ["c", "d"], ["e"]]

    def test_a_full_page_that_is_the_last_says_so(
        self, repo: AgentRegistryRepository, at_noon: MakeRecord
    ) -> None:
        """Nobody is sent on to an empty page."""
        for agent_id in ("a", "b"):
            repo.add(at_noon(agent_id))
        repo.add(at_noon("c", last_heartbeat=NOON - 3600 * SECOND))

        page = repo.list_page(AgentFilter(), now=NOON, limit=2)

        assert (ids(page), page.next_after) == (["a", "b"], None)

    def test_a_page_may_start_behind_an_id_that_is_gone(
        self, repo: AgentRegistryRepository, at_noon: MakeRecord
    ) -> None:
        """A cursor is a place in the order, not an agent."""
        repo.add(at_noon("a"))
        repo.add(at_noon("c"))

        assert ids(repo.list_page(AgentFilter(), now=NOON, after="b")) == ["c"]

    def test_pages_count_what_matches(
        self,
        repo: AgentRegistryRepository,
        at_noon: MakeRecord,
    ) -> None:
        """What a filter or death leaves out takes no place on a page."""
        repo.add(at_noon("a", host="10.0.0.8"))
        repo.add(at_noon("b", metadata={"zone": "x"}))
        repo.add(at_noon("c", last_heartbeat=NOON - 3600 * SECOND))
        repo.add(at_noon("d", metadata={"zone": "x"}))

        agents = AgentFilter(host="10.0.0.7", metadata={"zone": "x"})

        assert ids(repo.list_page(agents, now=NOON, limit=2)) == ["b", "d"]


class TestName:
    """Agents of a name are sorted, or found among all, by how many there are."""

    @pytest.fixture(params=[1, 10_000], ids=["found among all", "sorted"], autouse=True)
    def _sorted_at_most(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("store.listing._SORTED_AT_MOST", request.param)

    @pytest.fixture
    def fleet(self, repo: AgentRegistryRepository, at_noon: MakeRecord) -> list[str]:
        """Add agents in no order; return the ids of those who are listed."""
        numbers = list(range(60))
        random.Random(1).shuffle(numbers)  # noqa: S311 - no secret
        for number in numbers:
            repo.add(
                at_noon(
                    f"agent-{number:02}",
                    agent_name="Other" if number % 3 == 0 else "Summariser",
                    host="10.0.0.8" if number % 5 == 0 else "10.0.0.7",
                    ttl_seconds=1 if number % 7 == 0 else 60,
                )
            )
        return [
            f"agent-{number:02}"
            for number in sorted(numbers)
            if number % 3 and number % 5 and number % 7
        ]

    def test_all_of_a_name_are_in_the_order_of_ids(
        self, repo: AgentRegistryRepository, fleet: list[str]
    ) -> None:
        """In whichever order they registered."""
        agents = AgentFilter(name="Summariser", host="10.0.0.7")

        assert ids(repo.list_page(agents, now=NOON + SECOND)) == fleet

    def test_pages_of_a_name_are_its_list_cut_in_pieces(
        self, repo: AgentRegistryRepository, fleet: list[str]
    ) -> None:
        """No gap, no overlap; the last one says that it is."""
        agents = AgentFilter(name="Summariser", host="10.0.0.7")
        found, after = [], None
        while True:
            page = repo.list_page(agents, now=NOON + SECOND, after=after, limit=5)
            found.append(ids(page))
            if (after := page.next_after) is None:
                break

        assert list(chain.from_iterable(found)) == fleet
        assert {len(page) for page in found[:-1]} == {5}
        assert found[-1]

    @pytest.mark.usefixtures("fleet")
    def test_a_name_that_nobody_has_lists_nobody(
        self, repo: AgentRegistryRepository
    ) -> None:
        """Nor is there a page behind."""
        page = repo.list_page(AgentFilter(name="Nobody"), now=NOON, limit=5)

        assert (ids(page), page.next_after) == ([], None)


class TestFilter:
    @pytest.mark.parametrize("field", ["name", "host"])
    def test_name_and_host_match_exactly(
        self,
        repo: AgentRegistryRepository,
        at_noon: MakeRecord,
        found: Callable[..., list[str]],
        field: str,
    ) -> None:
        """No case folding, no prefix, no wildcard."""
        column = {"name": "agent_name", "host": "host"}[field]
        for n, value in enumerate(["gpu", "GPU", "gpu-2", "g%"]):
            repo.add(at_noon(f"agent-{n}", **{column: value}))

        assert found(**{field: "gpu"}) == ["agent-0"]
        assert found(**{field: "g%"}) == ["agent-3"]
        assert found(**{field: ""}) == []

    @pytest.mark.parametrize(
        ("stored", "text"),
        [
            ("gpu", "gpu"),
            ("", ""),
            ("3", "3"),
            ("naïve 😀", "naïve 😀"),
            ('it\'s "so" \\ 100%', 'it\'s "so" \\ 100%'),
            (2, "2"),
            (-7, "-7"),
            (2**63 - 1, "9223372036854775807"),
            (0.5, "0.5"),
            (2.0, "2.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1732579200.123456, "1732579200.123456"),
            (1e16, "1e+16"),
            (1e-07, "1e-07"),
            (-0.0, "-0.0"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            ([0.1 + 0.2], "0.30000000000000004"),
            (True, "true"),
            (False, "false"),
            (None, "null"),
            (["cuda", "rocm"], "rocm"),
            ([1, 2.5, True, None], "2.5"),
            ([1, 2.5, True, None], "true"),
            ([1, 2.5, True, None], "null"),
        ],
    )
    def test_metadata_matches_a_scalar_or_an_element(
        self,
        repo: AgentRegistryRepository,
        at_noon: MakeRecord,
        found: Callable[..., list[str]],
        stored: Any,
        text: str,
    ) -> None:
        """The value is compared as text, under its own key only."""
        repo.add(at_noon("match", metadata={"key": stored}))
        repo.add(at_noon("other-key", metadata={"yek": stored}))
        repo.add(at_noon("other-value", metadata={"key": "different"}))
        repo.add(at_noon("without"))

        assert found(metadata={"key": text}) == ["match"]

    @pytest.mark.parametrize(
        ("stored", "text"),
        [
            ("gpu", "GPU"),
            ("gpu", "gp"),
            ("gpu", "gpu "),
            (2, "2.0"),
            (2.0, "2"),
            (0.1 + 0.2, "0.3"),
            (True, "1"),
            (False, "0"),
            (None, ""),
            ([], ""),
            ([["deep"]], "deep"),
            ([{"deep": "value"}], "value"),
            ({"deep": "value"}, "value"),
            ({"deep": "value"}, '{"deep":"value"}'),
        ],
    )
    def test_metadata_matches_nothing_else(
        self,
        repo: AgentRegistryRepository,
        at_noon: MakeRecord,
        found: Callable[..., list[str]],
        stored: Any,
        text: str,
    ) -> None:
        """No folding, no conversion, no look inside containers."""
        repo.add(at_noon(metadata={"key": stored}))

        assert found(metadata={"key": text}) == []

    @pytest.mark.parametrize(
        "key",
        [
            "a.b",
            "$",
            "$.a",
            "[0]",
            "#",
            "",
            " ",
            "it's",
            'a"b',
            "a\\b",
            "%",
            "_",
            "ключ",
        ],
    )
    def test_any_key_is_only_a_key(
        self,
        repo: AgentRegistryRepository,
        at_noon: MakeRecord,
        found: Callable[..., list[str]],
        key: str,
    ) -> None:
        """A key with quotes, dots or brackets is no path and no pattern."""
        repo.add(at_noon("decoy", metadata={"a": {"b": "x"}, "x": "x"}))
        repo.add(at_noon("match", metadata={key: "x"}))

        assert found(metadata={key: "x"}) == ["match"]

    def test_every_given_field_must_match(
        self,
        repo: AgentRegistryRepository,
        at_noon: MakeRecord,
        found: Callable[..., list[str]],
    ) -> None:
        """Filters narrow each other."""
        wanted = {"zone": "b", "tools": ["search", "code"]}
        repo.add(at_noon("match", metadata=wanted))
        repo.add(at_noon("half", metadata={"zone": "b"}))
        repo.add(at_noon("name", metadata=wanted, agent_name="Other"))
        repo.add(at_noon("host", metadata=wanted, host="10.0.0.8"))
        repo.add(at_noon("dead", metadata=wanted, expires_at=NOON))

        asked = {"name": "Summariser", "host": "10.0.0.7"}
        metadata = {"zone": "b", "tools": "code"}

        assert found(metadata=metadata, **asked) == ["match"]
        assert found(metadata=metadata, include_dead=True, **asked) == ["dead", "match"]


class TestCount:
    def test_an_empty_registry_counts_zeros(
        self, repo: AgentRegistryRepository
    ) -> None:
        """Every status is there."""
        assert repo.count_by_status(NOON) == dict.fromkeys(Status, 0)

    def test_agents_are_counted_as_they_are_judged(
        self, repo: AgentRegistryRepository, at_noon: MakeRecord
    ) -> None:
        """Late from two thirds of the TTL, dead from the deadline."""
        repo.add(at_noon("alive", ttl_seconds=301))
        repo.add(at_noon("late", ttl_seconds=300))
        repo.add(at_noon("late-too", ttl_seconds=201))
        repo.add(at_noon("dead", ttl_seconds=200))

        assert repo.count_by_status(NOON + 200 * SECOND) == {
            Status.ALIVE: 1,
            Status.LATE: 2,
            Status.HELD: 0,
            Status.DEAD: 1,
        }
