"""What commands print."""

import io
from collections.abc import Callable

import pytest
from agent_registry_client import AgentInfo, Health, Unreachable
from agent_registry_client.cli.events import Watched
from agent_registry_client.cli.output import (
    agents_table,
    cells,
    print_one,
    seconds_left,
)
from agent_registry_client.cli.watch import Lines
from rich.console import Console

Make = Callable[..., AgentInfo]


def drawn(agent: AgentInfo, width: int, *, color: bool = False) -> str:
    """Return a table of one agent."""
    console = Console(file=io.StringIO(), width=width, force_terminal=color)
    console.print(agents_table([("", agent, 12.3)]))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_what_is_left_is_reckoned_by_the_registrys_clock(make_agent: Make) -> None:
    """A lease of 30 s, 10 s old at the answer, of which 5 s passed since."""
    assert seconds_left(make_agent(), 5) == 15


def test_a_lease_that_was_prolonged_counts_as_long_as_it_is(make_agent: Make) -> None:
    """As after a pause of the registry: the TTL is not the lease."""
    agent = make_agent(expires_at="2026-11-22T15:47:00.000000Z")

    assert seconds_left(agent) == 110


def test_a_table_fits_its_terminal(make_agent: Make) -> None:
    """Metadata gives way first, and an agent takes a line."""
    agent = make_agent("summariser-with-a-long-id", metadata={"about": "long " * 99})
    heading, line = drawn(agent, 90).splitlines()

    assert heading.split()[:3] == ["ID", "STATUS", "LEFT"]
    assert line.startswith("summariser-with-a-long-id  alive    12s  30s")
    assert line.endswith("…")


def test_a_status_has_a_colour(make_agent: Make) -> None:
    """And is a word, for those who see none."""
    assert "\x1b[31mdead" in drawn(make_agent(status="dead"), 90, color=True)


def test_a_name_is_no_markup_and_no_escape(make_agent: Make) -> None:
    """Whatever an agent is called, by a false registry too, the table stays whole."""
    agent = make_agent(
        "\x1b[2J\tx", agent_name="[red]\x1b[2J\tx[/]", metadata={"\x9b": "\x1b"}
    )

    assert "[red]�[2J�x[/]" in drawn(agent, 120)
    assert "\x1b" not in drawn(agent, 120)
    assert all(cell and "\t" not in cell for cell in cells(agent, -1.0))
    assert cells(agent, -1.0)[2] == "0s"


def test_what_a_false_registry_says_is_no_escape(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nor the names of what it counts, nor why it does not answer."""
    watched = Watched()
    watched.saw([])
    print_one(Health(agents={"\x1b\t": 1}), as_json=False)
    Lines(as_json=False).show(watched.missed(Unreachable("a\x1b\tb")))

    *_, counted, event = capsys.readouterr().out.splitlines()
    assert counted == "agents.��\t1"
    assert event.split("\t")[1:] == ["unreachable", "a��b"]
