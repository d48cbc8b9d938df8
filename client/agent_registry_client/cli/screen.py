"""A fleet on a terminal: deadlines count down, changes are marked."""

import time
from collections import Counter
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from agent_registry_client.cli.advice import printable
from agent_registry_client.cli.events import Event, Look
from agent_registry_client.cli.output import agents_table, seconds_left
from agent_registry_client.models import AgentInfo

#: How long a change stays marked, and who is gone is still shown.
MARK_SECONDS = 4.0

_MARKS = {"registered": "+", "gone": "-"}


class Screen:
    """Draws the last look again and again, so that the deadlines move."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._look: Look | None = None
        self._marked: dict[str, tuple[float, Event]] = {}
        self._live = Live(
            get_renderable=self.draw, console=self._console, refresh_per_second=4
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, look: Look) -> None:
        """Draw this from now on."""
        now = time.monotonic()
        for event in look.events:
            if event.agent and event.event != "present":
                self._marked[event.agent.agent_id] = (now, event)
        self._look = look
        self._live.refresh()

    def say(self, sentence: str) -> None:
        """Print a sentence above the picture."""
        self._console.print(Text(sentence))

    def draw(self) -> Group:
        """Return the picture of this moment."""
        if self._look is None:
            return Group()
        now = time.monotonic()
        marked = {
            agent_id: event
            for agent_id, (at, event) in list(self._marked.items())
            if now - at < MARK_SECONDS
        }
        rows = self._rows(self._look, marked, now)
        room = max(1, self._console.height - 5)
        if len(rows) > room:  # what is going on matters more than the alphabet
            rows.sort(key=lambda row: (not row[0], row[1].status == "alive", row[2]))
        parts: list[RenderableType] = [
            _headline(self._look, now),
            agents_table(rows[:room]),
        ]
        if len(rows) > room:
            parts.append(Text(f"and {len(rows) - room} more", style="dim"))
        return Group(*parts)

    def _rows(
        self, look: Look, marked: dict[str, Event], now: float
    ) -> list[tuple[str, AgentInfo, float]]:
        here = {agent.agent_id: agent for agent in look.agents}
        for agent_id, event in marked.items():
            if event.event == "gone" and event.agent:
                here.setdefault(agent_id, event.agent)
        return [
            (
                _MARKS.get(marked[agent_id].event, "*") if agent_id in marked else "",
                agent,
                seconds_left(agent, now - look.seen_at),
            )
            for agent_id, agent in sorted(here.items())
        ]


def _headline(look: Look, now: float) -> Text:
    counted = Counter(agent.status for agent in look.agents)
    told = ", ".join(f"{number} {status}" for status, number in counted.items())
    line = Text(printable(told) or "nobody")
    if look.error:
        age = f"  as of {now - look.seen_at:.0f} s ago: {printable(look.error)}"
        line.append(age, style="bold red")
    return line
