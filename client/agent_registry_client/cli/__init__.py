"""The command `agent-registry`; only this package needs typer and rich.

`app` has the commands; each of the others is one of them, or what several share.
"""

import sys


def main() -> None:
    """Run the command."""
    try:
        from agent_registry_client.cli.app import app  # noqa: PLC0415 - see below
    except ModuleNotFoundError as error:
        if error.name not in {"rich", "typer"}:
            raise
        # The library is of use without them, so it does not ask for them.
        sys.exit(
            f"agent-registry: the command needs {error.name}: "
            "pip install 'agent-registry-client[cli]'"
        )
    app(prog_name="agent-registry")
