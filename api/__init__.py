"""The HTTP facade: it forwards register, heartbeat, list and health to the store."""

from api.server import AgentRegistryServer
from store import AgentRecord

__all__ = ["AgentRecord", "AgentRegistryServer"]
