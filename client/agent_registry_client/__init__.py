"""Keep an agent registered, whatever happens, and find the others.

from agent_registry_client import AgentRegistryClient

with AgentRegistryClient().registered(
    "summariser-1", agent_name="Summariser", host="10.0.0.7", port=8001
):
    serve_forever()
"""

from typing import TYPE_CHECKING

from agent_registry_client.client import AgentRegistryClient
from agent_registry_client.discovery import Discovered
from agent_registry_client.errors import (
    AgentNotFound,
    FieldError,
    InvalidRequest,
    LimitReached,
    NotAllowed,
    NotARegistry,
    RegistryError,
    RegistryProblem,
    Unavailable,
    Unreachable,
)
from agent_registry_client.kept import Change, State
from agent_registry_client.models import (
    AgentInfo,
    BulkRenewal,
    GuardHealth,
    Health,
    LeaseTimeHealth,
    RegisteredAgent,
    Renewal,
    SweepHealth,
)
from agent_registry_client.registration import Registration
from agent_registry_client.version import __version__

if TYPE_CHECKING:
    from agent_registry_client.async_client import (
        AsyncAgentRegistryClient,
        AsyncRegistration,
    )

__all__ = [
    "AgentInfo",
    "AgentNotFound",
    "AgentRegistryClient",
    "AsyncAgentRegistryClient",
    "AsyncRegistration",
    "BulkRenewal",
    "Change",
    "Discovered",
    "FieldError",
    "GuardHealth",
    "Health",
    "InvalidRequest",
    "LeaseTimeHealth",
    "LimitReached",
    "NotARegistry",
    "NotAllowed",
    "RegisteredAgent",
    "Registration",
    "RegistryError",
    "RegistryProblem",
    "Renewal",
    "State",
    "SweepHealth",
    "Unavailable",
    "Unreachable",
    "__version__",
]


def __getattr__(name: str) -> object:
    # asyncio is half of the time an import takes, and most programs are not async.
    if name in {"AsyncAgentRegistryClient", "AsyncRegistration"}:
        from agent_registry_client import async_client  # noqa: PLC0415

        return getattr(async_client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
