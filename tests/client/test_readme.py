"""The client's README says what is true."""

import re
from pathlib import Path

from agent_registry_client import State

CLIENT = Path(__file__).parent.parent.parent / "client"
README = (CLIENT / "README.md").read_text()


def test_every_complaint_names_a_test_that_exists() -> None:
    """Ten of them."""
    named = re.findall(r"\| `(test_\w+)` \|", README)
    tests = "".join(
        file.read_text() for file in Path(__file__).parent.rglob("test_*.py")
    )

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


def test_the_bound_of_the_soak_is_the_tests() -> None:
    """And what was measured is within it."""
    soak = (Path(__file__).parent / "test_soak.py").read_text()
    (bound,) = re.findall(r"(?m)^PEAK = (\d+)$", soak)
    peaks = re.findall(r"(?m)^\| \w+, \d+ s \|.* (\d+\.\d) \|$", README)

    assert f"the test bounds the last column at {bound}." in README
    assert len(peaks) == 6
    assert max(map(float, peaks)) <= float(bound)
