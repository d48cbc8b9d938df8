"""`daemon.asgi:app`: the registry with its scheduler, under any ASGI server.

Run one process: every further one would be refused the database.
"""

from fastapi import FastAPI

from daemon.app import RegistryDaemon
from daemon.config import load_config
from daemon.logs import configure_logging

app: FastAPI


def __getattr__(name: str) -> FastAPI:
    """Build `app` when it is asked for: importing this module does nothing."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    config = load_config()
    configure_logging(config.log.level, config.log.format, config.log.lines_per_minute)
    built = globals()["app"] = RegistryDaemon(config).create_asgi_app()
    return built
