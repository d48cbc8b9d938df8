"""What an error tells its reader to do next."""

import re
from pathlib import Path

import pytest
from agent_registry_client import NotARegistry, RegistryError, Unreachable
from agent_registry_client.cli import advice
from agent_registry_client.errors import error_of

ROOT = Path(__file__).parent.parent.parent.parent
ERRORS = (ROOT / "docs" / "protocol.md").read_text().partition("## Errors")[2]
CODES = re.findall(r"(?m)^\| `(\w+)` \| (\d+)", ERRORS)


def problem(status: int, code: str) -> RegistryError:
    """Return the error that the registry's problem becomes."""
    return error_of(status, f'{{"code": "{code}"}}'.encode())


@pytest.mark.parametrize(("code", "status"), CODES)
def test_each_problem_has_a_next_step(code: str, status: str) -> None:
    """A sentence; the answer was no."""
    error = problem(int(status), code)

    assert re.fullmatch(r".{15,}[.?]", advice.advice(error))
    assert advice.status_of(error) == 1


@pytest.mark.parametrize("error", [Unreachable("x"), NotARegistry("x")])
def test_nobody_and_somebody_else_are_3(error: RegistryError) -> None:
    """In both cases the way to the registry is wrong."""
    assert advice.status_of(error) == 3
    assert "AGENT_REGISTRY_URL" in advice.advice(error)


def test_a_missing_token_is_named() -> None:
    """By the variable that holds it."""
    assert "AGENT_REGISTRY_TOKEN" in advice.advice(problem(401, "unauthorized"))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "unauthenticated"),
        (403, "forbidden"),
        (408, "request_timeout"),
        (421, "misdirected"),
        (429, "quota_exceeded"),
        (429, "too_many_registrations"),
        (431, "header_too_large"),
    ],
)
def test_who_is_kept_out_hears_of_a_way_in(status: int, code: str) -> None:
    """A way of its own for each reason."""
    told = advice.advice(problem(status, code))

    assert told != advice.advice(problem(status, "of_tomorrow"))
    assert told.endswith((".", "?"))


def test_a_certificate_that_is_not_trusted_is_no_absent_registry() -> None:
    """There is a variable for it."""
    error = Unreachable("https://a: certificate verify failed")

    assert "AGENT_REGISTRY_CA_FILE" in advice.advice(error)


def test_what_agents_say_does_nothing_to_a_terminal() -> None:
    """Escapes, bells, line ends, and text that runs backwards."""
    assert advice.printable("a\x1b[31m\x9b\a\nb\u202ec é") == "a�[31m���b�c é"
