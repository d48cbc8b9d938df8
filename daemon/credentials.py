"""The credentials file: whose a token or a client certificate is.

It is TOML, for people to read and for `agent-registryd token` to write. Tokens stand
in it as digests only: random as they are, they need no slow hash.
"""

import tomllib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    model_validator,
)

from api.access import Principal, Role
from daemon.secret_files import SecretUnusable

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
#: Of agents' ids: `*` stands for any characters.
IdPattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:~*-]{1,255}$")]
#: A subject alternative name of a certificate (RFC 5280, 4.2.1.6), by its kind.
AlternativeName = Annotated[
    str, Field(pattern=r"^(DNS|URI|IP|email):[\x21-\x7e]{1,1000}$")
]
_Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", repr=False)]
_Instant = Annotated[
    AwareDatetime, Strict(), AfterValidator(lambda instant: instant.astimezone(UTC))
]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    principal: Name
    roles: tuple[Role, ...] = Field(min_length=1)
    agents: tuple[IdPattern, ...] = ()

    @model_validator(mode="after")
    def _patterns_are_for_agents(self) -> Self:
        if (Role.AGENT in self.roles) != bool(self.agents):
            raise ValueError(
                'the role "agent" takes patterns of ids, and no other role has any'
            )
        return self

    def as_principal(self) -> Principal:
        """Return whom it names."""
        return Principal(self.principal, frozenset(self.roles), self.agents)


class TokenEntry(_Entry):
    """A token, without the token."""

    #: Names it in lists and logs; no secret.
    id: Name
    hash: _Digest
    created_at: _Instant
    #: From when on it is not valid; None: it does not expire.
    expires_at: _Instant | None = None

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the token."""
        return bytes.fromhex(self.hash.removeprefix("sha256:"))


class CertificateEntry(_Entry):
    """A name of client certificates that `tls.client_ca` vouches for."""

    name: AlternativeName


class Document(BaseModel):
    """All that a credentials file says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: tuple[TokenEntry, ...] = ()
    certificates: tuple[CertificateEntry, ...] = ()

    @model_validator(mode="after")
    def _nothing_comes_twice(self) -> Self:
        _require_distinct("two tokens have the id", [one.id for one in self.tokens])
        _require_distinct(
            "two certificates have the name", [one.name for one in self.certificates]
        )
        if len({one.hash for one in self.tokens}) < len(self.tokens):
            raise ValueError("two tokens have the same hash")
        return self


def _require_distinct(sentence: str, names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{sentence} {min(twice)}")


def parse(content: bytes, source: Path) -> Document:
    """Read the content of a credentials file.

    Raises:
        SecretUnusable: it is empty, no TOML, or says something else than it should.
    """
    if not content.strip():
        # What an editor leaves for a moment, while it writes the file anew.
        raise SecretUnusable(f"{source} is empty")
    try:
        return Document.model_validate(tomllib.loads(content.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SecretUnusable(f"{source} is not TOML: {error}") from None
    except ValidationError as error:
        found = "; ".join(sentences(error))
        raise SecretUnusable(f"{source} says what it may not: {found}") from None
    except (ValueError, OverflowError, RecursionError):
        # TOML all the same: an integer of 4,300 digits, the evening of 9999-12-31 west
        # of Greenwich. The error's own text may have the value in it.
        raise SecretUnusable(
            f"{source} has a value that is too large, or nested too deep"
        ) from None


def sentences(error: ValidationError) -> Iterator[str]:
    """Yield what is wrong, by key, without any value: it may be a secret."""
    for found in error.errors(include_input=False, include_url=False):
        reason = (
            "is no known key"
            if found["type"] == "extra_forbidden"
            else found["msg"].removeprefix("Value error, ")
        )
        yield ": ".join(filter(None, [".".join(map(str, found["loc"])), reason]))


def is_expired(entry: TokenEntry, now: datetime) -> bool:
    """Tell whether a token is not valid any more."""
    return entry.expires_at is not None and now >= entry.expires_at
