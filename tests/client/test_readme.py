"""The client's README says what is true."""

import re
from pathlib import Path

from agent_registry_client import State

CLIENT = Path(__file__).parent.parent.parent / "client"
README = (CLIENT / "README.md").read_text()


def test_every_complaint_names_a_test_that_exists() -> None:
    """Ten of them."""
    named = re.findall(r"\| `(test_\w+)` \|", README)
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*"))

    assert len(named) == 10
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_every_state_is_described() -> None:
    """In the order of an agent's life."""
    assert re.findall(r"(?m)^\| `(\w+)` \| [a-z]", README)[: len(State)] == [*State]


def test_every_module_is_in_the_order_of_reading() -> None:
    """But for those that need no introduction."""
    modules = {file.stem for file in (CLIENT / "agent_registry_client").glob("*.py")}
    order = README.rpartition("in this order:")[2]

    assert modules - set(re.findall(r"`(\w+)`", order)) == {
        "__init__",
        "hosts",
        "logs",
        "testing",
        "threads",
        "tls",
        "version",
    }
