"""The grammar of what goes over the wire: ids, names, hosts, metadata, instants."""

import ipaddress
import re
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic.config import JsonDict

from store.models import compact_json

#: Every id that can be registered can be reached by its path.
AGENT_ID = r"[A-Za-z0-9][A-Za-z0-9._:~-]{0,254}"
AGENT_ID_PATTERN = f"^{AGENT_ID}$"
MAX_BULK_HEARTBEATS = 10_000
MAX_PAGE = 10_000
#: Members that a body is looked at with; a registration has six.
MAX_MEMBERS = 100
MAX_METADATA_BYTES = 4_000
MAX_METADATA_KEYS = 64
MAX_METADATA_KEY_LENGTH = 128
MAX_HOST_LENGTH = 253

#: The same as `check_name` and `check_host`, as JSON Schema says it. Bytes and depth of
#: metadata it cannot say.
NAME_SCHEMA: JsonDict = {"pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"}
_LABEL_SCHEMA = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
HOST_SCHEMA: JsonDict = {
    "anyOf": [
        {"format": "ipv4"},
        {"format": "ipv6"},
        {"pattern": rf"^({_LABEL_SCHEMA}\.)*(?![0-9]+$){_LABEL_SCHEMA}$"},
    ]
}
METADATA_SCHEMA: JsonDict = {
    "maxProperties": MAX_METADATA_KEYS,
    "propertyNames": {"maxLength": MAX_METADATA_KEY_LENGTH},
}

_is_agent_id = re.compile(AGENT_ID).fullmatch
_is_number = re.compile(r"[0-9]+").fullmatch
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_agent_id(text: str) -> bool:
    """Tell whether `text` could be an agent's id."""
    return _is_agent_id(text) is not None


def check_members(body: object) -> object:
    """Return what a body holds, if it is not full of members that nobody knows.

    Raises:
        ValueError: it is; told once, where each of them would be an error of its own.
    """
    if isinstance(body, dict) and len(body) > MAX_MEMBERS:
        raise ValueError(f"must have at most {MAX_MEMBERS} members")
    return body


def check_name(name: str) -> str:
    """Return a name that has no control characters.

    Raises:
        ValueError: it has.
    """
    if _CONTROL.search(name):
        raise ValueError("must have no control characters")
    return name


@lru_cache(maxsize=1024)  # one machine hosts many agents
def check_host(host: str) -> str:
    """Return a DNS name or an IP literal.

    Raises:
        ValueError: it is neither.
    """
    if not _is_ip_literal(host) and not _is_dns_name(host):
        raise ValueError(
            f"must be a DNS name of at most {MAX_HOST_LENGTH} characters or an IP "
            "address, without scheme, port or brackets"
        )
    return host


def _is_ip_literal(host: str) -> bool:
    if "%" in host:  # a zone means something on one machine only
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_dns_name(host: str) -> bool:
    labels = host.split(".")
    return (
        len(host) <= MAX_HOST_LENGTH
        and all(_LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdigit()  # 10.0.0.300 is a mistyped address
    )


def check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata that keeps its limits.

    Raises:
        ValueError: it does not.
    """
    if len(metadata) > MAX_METADATA_KEYS:
        raise ValueError(f"must have at most {MAX_METADATA_KEYS} keys")
    if any(len(key) > MAX_METADATA_KEY_LENGTH for key in metadata):
        raise ValueError(
            f"must have keys of at most {MAX_METADATA_KEY_LENGTH} characters"
        )
    if len(compact_json(metadata).encode()) > MAX_METADATA_BYTES:
        raise ValueError(f"must be at most {MAX_METADATA_BYTES} bytes as JSON")
    return metadata


@lru_cache(maxsize=1024)
def wire_instant(instant: datetime) -> str:
    """Return a UTC instant as RFC 3339 with Z, always to the microsecond."""
    # All of a batch share their instants.
    return instant.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


Instant = Annotated[
    datetime,
    PlainSerializer(wire_instant, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "examples": ["2026-11-22T15:45:00.000000Z"],
        }
    ),
]


def _digits(limit: str) -> str:
    """Return the text of a number; what else is one to Pydantic, as 1_0, is not."""
    if _is_number(limit) is None:
        raise ValueError("must be a whole number, in digits")
    return limit


#: How many agents a page has at most, as a parameter tells it.
PageLimit = Annotated[int, Field(ge=1, le=MAX_PAGE), BeforeValidator(_digits)]


AgentId = Annotated[
    str,
    Field(
        description="Who: chosen by the agent, unique in the registry.",
        examples=["summariser-1"],
        json_schema_extra={"pattern": AGENT_ID_PATTERN},
    ),
]
