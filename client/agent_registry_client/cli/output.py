"""What commands print: tables for people, columns for scripts, JSON for programs."""

import dataclasses
import errno
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from agent_registry_client.cli.advice import printable
from agent_registry_client.models import AgentInfo

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

#: The columns of agents, on a terminal and piped.
COLUMNS = ("ID", "STATUS", "LEFT", "TTL", "ADDRESS", "NAME", "METADATA")

_COLOURS = {"alive": "green", "late": "yellow", "held": "magenta", "dead": "red"}


def document(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any of our dataclasses
    """Return a dataclass as JSON has it: its fields, instants as the registry's."""
    told: dict[str, Any] = json.loads(
        json.dumps(dataclasses.asdict(value), default=_instant)
    )
    return told


def _instant(value: datetime) -> str:
    return value.isoformat(timespec="microseconds").replace("+00:00", "Z")


def to_terminal() -> bool:
    """Tell whether a person reads along."""
    return sys.stdout is not None and sys.stdout.isatty()


def print_line(line: str) -> None:
    """Print a line.

    Raises:
        OSError: it cannot be written.
    """
    if sys.stdout is None:  # closed; nobody would say that the line is lost
        raise OSError(errno.EBADF, "standard output is closed")
    typer.echo(line)


def print_agents(agents: Iterable[AgentInfo], *, as_json: bool) -> None:
    """Print agents: a table, columns separated by tabs, or an array of objects."""
    if as_json:
        lines = ",\n".join(json.dumps(document(agent)) for agent in agents)
        print_line(f"[\n{lines}\n]" if lines else "[]")
    elif to_terminal():
        rich_print(agents_table(("", agent, seconds_left(agent)) for agent in agents))
    else:
        for agent in agents:
            print_line("\t".join(cells(agent, seconds_left(agent))))


def print_one(value: Any, *, as_json: bool) -> None:  # noqa: ANN401 - as `document`
    """Print one thing: a line for each of its fields that are known, or an object."""
    told = document(value)
    if as_json:
        print_line(json.dumps(told, indent=2))
        return
    pairs = list(_flat(told))
    width = max(len(name) for name, _ in pairs) + 2
    for name, text in pairs:
        print_line(name.ljust(width) + text if to_terminal() else f"{name}\t{text}")


def _flat(told: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in told.items():
        if isinstance(value, dict) and value and key != "metadata":
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            yield printable(prefix + key), printable(text)


def seconds_left(agent: AgentInfo, since_seconds: float = 0.0) -> float:
    """Return what was left of a lease so long after the answer, by no clock of ours."""
    lease = (agent.expires_at - agent.last_heartbeat).total_seconds()
    return lease - agent.age_seconds - since_seconds


def cells(agent: AgentInfo, left_seconds: float) -> list[str]:
    """Return the cells of a row; none is empty, and none holds a tab."""
    return [
        printable(agent.agent_id),
        printable(agent.status),
        f"{max(0.0, left_seconds):.0f}s",
        f"{agent.ttl_seconds}s",
        printable(agent.address),
        printable(agent.agent_name),
        printable(json.dumps(agent.metadata, ensure_ascii=False))
        if agent.metadata
        else "-",
    ]


def agents_table(rows: Iterable[tuple[str, AgentInfo, float]]) -> "Table":
    """Return a table of marks, agents, and the seconds that are left to each."""
    from rich.table import Table  # noqa: PLC0415 - scripts need not wait for it
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS[:-1]:
        right = column in {"LEFT", "TTL"}
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    table.add_column(COLUMNS[-1])  # what does not fit is cut here first
    for mark, agent, left_seconds in rows:
        first, status, *others, metadata = cells(agent, left_seconds)
        table.add_row(
            Text(f"{mark} {first}" if mark else first),
            Text(status, style=_COLOURS.get(status, "")),
            *(Text(cell) for cell in others),
            Text(metadata, no_wrap=True, overflow="ellipsis"),
            style="dim" if mark == "-" else "bold" if mark else "",
        )
    return table


def rich_print(what: "Table | Text") -> None:
    """Print on the terminal."""
    from rich.console import Console  # noqa: PLC0415

    Console().print(what)
