"""Exit statuses, and what an error tells its reader to do next."""

import contextlib
import logging
import sys
from typing import Any

import typer
import typer.core

from agent_registry_client.errors import (
    AgentNotFound,
    NotAllowed,
    NotARegistry,
    RegistryError,
    RegistryProblem,
    Unreachable,
)

#: The answer is no: unknown, refused, unwell, or not in time.
FAILED = 1
#: The command line is wrong.
USAGE = 2
#: No registry answers.
UNREACHABLE = 3
#: As shells have it: found but not to be run; not found; ended by signal 2.
CANNOT_RUN, NOT_FOUND, INTERRUPTED = 126, 127, 130

_NEXT = {
    "agent_not_found": "`agent-registry list --include-dead` shows who is known.",
    "forbidden": "Its operator can say which token may do this, for which agents.",
    "header_too_large": "Ask for less at a time, or with a shorter token.",
    "invalid_request": "Mend that, and repeat.",
    "internal_error": "The daemon's log says why.",
    "malformed_json": "Mend that, and repeat.",
    "misdirected": "Is the host of --url one of the registry's server.allowed_hosts?",
    "not_found": "Is the path of --url right?",
    "overloaded": "Repeat in a moment.",
    "quota_exceeded": "Deregister who is not needed, or have the limit raised.",
    "request_timeout": "Repeat in a moment.",
    "store_unavailable": "Repeat in a moment; if it lasts, the daemon's log says why.",
    "too_many_registrations": "Repeat in a moment.",
    "unauthenticated": "Set AGENT_REGISTRY_TOKEN to a token that the registry knows.",
}


def status_of(error: RegistryError) -> int:
    """Return the exit status that tells of this error."""
    return UNREACHABLE if isinstance(error, Unreachable | NotARegistry) else FAILED


def advice(error: RegistryError) -> str:
    """Return what to do next."""
    if isinstance(error, Unreachable):
        if "certificate" in str(error).lower():
            return (
                "AGENT_REGISTRY_CA_FILE names whom to trust, AGENT_REGISTRY_CERT_FILE "
                "and _KEY_FILE as whom to come."
            )
        return (
            "Start one with `make run` or `agent-registryd`, or say where it is: "
            "--url, or AGENT_REGISTRY_URL."
        )
    if isinstance(error, NotARegistry):
        return "Something else answers there: is --url, or AGENT_REGISTRY_URL, right?"
    code = error.code if isinstance(error, RegistryProblem) else ""
    if isinstance(error, NotAllowed) and code not in _NEXT:
        return "Set AGENT_REGISTRY_TOKEN to a token that may do this."
    return _NEXT.get(code, "`agent-registry health` may tell more.")


def reason_of(error: RegistryError) -> str:
    """Return what is wrong, for a person."""
    # The registry's own sentence is for agents: it tells them to register again.
    if isinstance(error, AgentNotFound):
        return f"no agent is registered under this id [{error.status} {error.code}]"
    return str(error)


def printable(text: object) -> str:
    """Return one line that does nothing to a terminal, whatever an agent says."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(text))


def complain(reason: object, then: str = "") -> None:
    """Say what is wrong, and what to do next."""
    typer.echo(f"agent-registry: {printable(reason)}", err=True)
    if then:
        typer.echo(f"  {then}", err=True)


def log_to_stderr(level: int) -> None:
    """Show what the library logs."""
    logging.basicConfig(
        stream=sys.stderr, level=level, format="agent-registry: %(message)s"
    )


class Advising(typer.core.TyperGroup):
    """Turns what went wrong in a command into advice and an exit status."""

    def main(self, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401 - as below
        """Run a command line."""
        try:
            return super().main(*arguments, **settings)
        except OSError as error:  # the library makes its own of all others
            complain(error.strerror or error, "Can standard output be written to?")
            with contextlib.suppress(OSError, AttributeError):  # it may be None
                sys.stdout.close()  # or it would be tried again at the exit
            sys.exit(FAILED)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer keeps its types private
        """Run a command."""
        try:
            return super().invoke(ctx)
        except RegistryError as error:
            complain(reason_of(error), advice(error))
            raise typer.Exit(status_of(error)) from None
        except ValueError as error:  # what the library says of ids, URLs and tokens
            complain(error, f"`{ctx.command_path} --help` shows how.")
            raise typer.Exit(USAGE) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # `| head` has seen enough
            sys.stderr.close()
            raise typer.Exit(FAILED) from None
