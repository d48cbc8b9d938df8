"""What both clients are made of."""

import ssl
from collections.abc import Sequence

from agent_registry_client.discovery import LocalCopies
from agent_registry_client.keeping import Keeping
from agent_registry_client.transport import Transport


class RegistryClientBase:
    """Holds the connections, the agents that are kept, and the local copies."""

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        *,
        token: str | None = None,
        timeout_seconds: float = 5.0,
        ssl_context: ssl.SSLContext | None = None,
        deregister_on_sigterm: bool = True,
    ) -> None:
        """Connect to nothing yet.

        Args:
            url: Base URL of the registry; several, as a sequence or with commas, are
                tried in turn. By default `AGENT_REGISTRY_URL`, else
                `http://127.0.0.1:8790`.
            token: Sent as `Authorization: Bearer`; by default `AGENT_REGISTRY_TOKEN`.
            timeout_seconds: How long one registry may take for one call as a whole,
                once its name is resolved; more than 0, and a day at most.
            ssl_context: What to trust with https, and as whom to come; by default
                what `AGENT_REGISTRY_CA_FILE`, `AGENT_REGISTRY_CERT_FILE` and
                `AGENT_REGISTRY_KEY_FILE` name, else what the system trusts.
            deregister_on_sigterm: Deregister agents that are kept when SIGTERM comes,
                and hand on to the handler that was there.

        Raises:
            ValueError: a URL, file or timeout is none, or the token cannot be sent.
        """
        self._transport = Transport(
            url, token=token, timeout_seconds=timeout_seconds, ssl_context=ssl_context
        )
        self._keeping = Keeping(self._transport)
        self._copies = LocalCopies()
        self._hold_sigterm = deregister_on_sigterm

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._transport.urls)!r})"

    @property
    def urls(self) -> tuple[str, ...]:
        """The base URLs of the registry."""
        return self._transport.urls
