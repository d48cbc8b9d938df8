"""Where the installed `agent-registryd` begins."""

import signal


def main() -> None:
    """Run the command; SIGHUP ends it no more, whatever it is doing."""
    # Until there is something to reload. The imports alone take up to a second, and
    # systemd takes a process that SIGHUP ended for one that stopped well.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from daemon.__main__ import main as run  # noqa: PLC0415 - these imports

    run()
