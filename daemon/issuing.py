"""Issues and revokes tokens: edits the credentials file, whole or not at all.

It is edited as text, so that the comments of those who edit it too stay.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
import stat
import tempfile
import tomllib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

from api.access import Role
from daemon.credentials import Document, TokenEntry, parse
from daemon.secret_files import SecretUnusable, open_secret
from store.clock import to_the_second

#: By this, scanners recognise a token that was left somewhere.
_PREFIX = "areg_"
_RANDOM_BYTES = 32
#: Without those that are easily taken for others.
_ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_ID_LENGTH = 8

_HEADER = b"""\
# Who may call the registry. `agent-registryd token` adds and removes tokens, and keeps
# comments. The tokens themselves are not in here, only what they hash to.
"""


class UnknownToken(Exception):
    """No token has this id."""


class Grant(NamedTuple):
    """What a token is for."""

    principal: str
    roles: Sequence[Role]
    #: Patterns of agents' ids.
    agents: Sequence[str] = ()
    #: From when on it is not valid; None: it does not expire.
    expires_at: datetime | None = None


def new_token(grant: Grant, now: datetime) -> tuple[str, TokenEntry]:
    """Return a token, which is in no file, and the entry by which it is known.

    Raises:
        pydantic.ValidationError: there is no such grant.
    """
    token = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    entry = TokenEntry(
        id="".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH)),
        hash=f"sha256:{hashlib.sha256(token.encode()).hexdigest()}",
        principal=grant.principal,
        roles=tuple(grant.roles),
        agents=tuple(grant.agents),
        created_at=now.replace(microsecond=0),
        expires_at=grant.expires_at and grant.expires_at.replace(microsecond=0),
    )
    return token, entry


def read(file: Path) -> Document:
    """Return what the credentials file says.

    Raises:
        SecretUnusable: it cannot be used.
    """
    with open_secret(file, owners=_owners(file)) as opened:
        return parse(opened.read(), file)


def add(file: Path, entry: TokenEntry) -> None:
    """Add a token to the credentials file, which is made if it is missing.

    Raises:
        SecretUnusable: the file cannot be used.
        OSError: it cannot be written.
    """

    def append(before: bytes) -> bytes:
        document = parse(before, file)
        after = before.rstrip() + b"\n\n" + _render(entry).encode()
        expected = (*document.tokens, entry)
        return _checked(after, document, expected, file)

    _edit(file, append, make=True)


def revoke(file: Path, ids: Collection[str]) -> None:
    """Remove tokens from the credentials file: all of them, or none.

    Raises:
        UnknownToken: it has no token of one of the ids.
        SecretUnusable: the file cannot be used.
        OSError: it cannot be written.
    """

    def remove(before: bytes) -> bytes:
        document = parse(before, file)
        unknown = set(ids).difference(entry.id for entry in document.tokens)
        if unknown:
            raise UnknownToken(f"no token in {file} has the id {min(unknown)}")
        left = tuple(entry for entry in document.tokens if entry.id not in ids)
        after = "".join(_without(before.decode(), ids)).encode()
        return _checked(after if after.strip() else _HEADER, document, left, file)

    _edit(file, remove)


def _checked(
    after: bytes, before: Document, tokens: tuple[TokenEntry, ...], file: Path
) -> bytes:
    """Return the edited text, if it says what it should."""
    expected = before.model_copy(update={"tokens": tokens})
    try:
        edited = parse(after, file)
    except SecretUnusable:
        edited = None
    if edited != expected:
        raise SecretUnusable(
            f"{file} has no tables [[tokens]] that could be edited: edit it by hand"
        )
    return after


def _render(entry: TokenEntry) -> str:
    lines = [
        "[[tokens]]",
        f'id = "{entry.id}"',
        f'hash = "{entry.hash}"',
        f'principal = "{entry.principal}"',
        f"roles = {json.dumps(entry.roles)}",
        f"agents = {json.dumps(entry.agents)}" if entry.agents else None,
        f"created_at = {to_the_second(entry.created_at)}",
        entry.expires_at and f"expires_at = {to_the_second(entry.expires_at)}",
    ]
    return "".join(f"{line}\n" for line in lines if line)


def _without(text: str, ids: Collection[str]) -> Iterator[str]:
    """Yield the parts of a file that belong to no token of these ids."""
    for part in re.split(r"(?m)^(?=[ \t]*\[)", text):
        table, behind = _cut_behind(part)
        if _id_in(table) in ids:
            yield behind.lstrip()
        else:
            yield part


def _id_in(table: str) -> str | None:
    """Return the id of a token's table; None of any other part of a file."""
    try:
        tokens = tomllib.loads(table).get("tokens", [])
    except tomllib.TOMLDecodeError:
        # A text of several lines was cut, where one of them begins with a bracket.
        return None
    return tokens[0].get("id") if tokens else None


def _cut_behind(part: str) -> tuple[str, str]:
    """Cut off the blank lines and comments behind a table: they tell of the next."""
    lines = part.splitlines(keepends=True)
    end = len(lines)
    while end and lines[end - 1].lstrip()[:1] in ("", "#"):
        end -= 1
    return "".join(lines[:end]), "".join(lines[end:])


def _edit(file: Path, change: Callable[[bytes], bytes], *, make: bool = False) -> None:
    """Put a changed file in the place of a credentials file; one edit at a time."""
    # A link stays one, and what it leads to is edited, or made.
    target = Path(os.path.realpath(file)) if file.is_symlink() else file
    if make and not os.path.lexists(target):
        # Whoever else makes it at the same time may be first.
        folder, mode = target.parent.stat(), stat.S_IRUSR | stat.S_IWUSR
        with _beside(target, _HEADER, folder, mode) as new, suppress(FileExistsError):
            target.hardlink_to(new)
    with _locked(target) as opened:
        about = os.fstat(opened.fileno())
        mode = stat.S_IMODE(about.st_mode)
        with _beside(target, change(opened.read()), about, mode) as new:
            new.replace(target)
        _sync(target.parent)


@contextmanager
def _locked(target: Path) -> Iterator[BinaryIO]:
    """Open a credentials file, once nobody else edits it."""
    # Not by its folder: any user who may look into that could hold up a revocation.
    while True:
        with open_secret(target, owners=_owners(target)) as opened:
            fcntl.flock(opened, fcntl.LOCK_EX)
            # The edit that was waited for put another file in its place.
            if os.path.samestat(os.fstat(opened.fileno()), target.stat()):
                yield opened
                return


@contextmanager
def _beside(
    target: Path, content: bytes, about: os.stat_result, mode: int
) -> Iterator[Path]:
    """Make a file in the folder of another; it is gone afterwards, if not moved."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            if os.geteuid() == 0:
                # Root edits the file of the user that the daemon runs as.
                os.fchown(descriptor, about.st_uid, about.st_gid)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _owners(file: Path) -> set[int]:
    # Whoever owns the folder could replace the file anyway.
    return {0, os.geteuid(), file.parent.stat().st_uid}
