"""Where `agent-registryd` begins, installed or as `python -m daemon`."""

import gc
import signal


def main() -> None:
    """Run the command; SIGHUP ends it no more, whatever it is doing."""
    # Until there is something to reload. The imports alone take up to a second, and
    # systemd takes a process that SIGHUP ended for one that stopped well.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Imports leave no garbage: to look for it, 166 times, took a tenth of a start, and
    # once more at the end of a command that does not serve, 0.2 s.
    gc.disable()
    from daemon.cli import main as run  # noqa: PLC0415 - these imports

    gc.freeze()
    gc.enable()
    run()


if __name__ == "__main__":
    main()
