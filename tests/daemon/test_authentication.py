"""Who is known, by the credentials file as it stands."""

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from freezegun import freeze_time

from api.access import Principal, Role
from daemon.authentication import FileCredentials
from daemon.secret_files import SecretUnusable

NOON = "2026-11-25T12:00:00Z"
READER = Principal("reader", frozenset({Role.READ}))


def _entry(token: str, expires_at: str | None = None, name: str = "reader") -> str:
    digest = hashlib.sha256(token.encode()).hexdigest()
    lines = [
        "[[tokens]]",
        f'id = "{digest[:8]}"',
        f'hash = "sha256:{digest}"',
        f'principal = "{name}"',
        'roles = ["read"]',
        "created_at = 2026-11-25T11:00:00Z",
    ]
    lines += [f"expires_at = {expires_at}"] if expires_at else []
    return "\n".join(lines) + "\n"


@pytest.fixture
def write() -> Callable[..., Path]:
    """Return a function that puts a file with this text in the place."""

    def write(text: str, mode: int = 0o600) -> Path:
        new = Path("credentials.toml.new")
        new.write_text(text)
        new.chmod(mode)
        return new.rename("credentials.toml")

    return write


@pytest.fixture
def refusals() -> list[str]:
    """Return the list to which each refusal is added."""
    return []


class Seconds:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


@pytest.fixture
def monotonic() -> Seconds:
    """Return the clock of `credentials`."""
    return Seconds()


@pytest.fixture
def credentials(
    write: Callable[..., Path], refusals: list[str], monotonic: Seconds
) -> FileCredentials:
    """Return loaded credentials that know the token `valid`."""
    credentials = FileCredentials(
        write(_entry("valid")),
        refused=lambda: refusals.append("refused"),
        monotonic=monotonic,
    )
    credentials.load()
    return credentials


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[str], int]:
    """Return a function that counts the log lines with this action."""
    caplog.set_level(logging.INFO)
    return lambda action: sum(
        getattr(record, "action", None) == action for record in caplog.records
    )


def test_a_token_is_known_by_what_it_hashes_to(credentials: FileCredentials) -> None:
    """And nothing else is: not its hash, not a part of it."""
    digest = hashlib.sha256(b"valid").hexdigest()

    assert credentials.of_token(b"valid") == READER
    for other in (b"", b"vali", b"valid ", b"VALID", digest.encode(), b"sha256:"):
        assert credentials.of_token(other) is None


def test_nobody_is_known_before_the_file_was_read(write: Callable[..., Path]) -> None:
    """Deny by default."""
    credentials = FileCredentials(write(_entry("valid")))

    assert credentials.of_token(b"valid") is None
    assert credentials.of_certificate(["DNS:a"]) is None


def test_several_tokens_are_valid_at_once(
    credentials: FileCredentials, write: Callable[..., Path]
) -> None:
    """So that one can take the place of another without a gap."""
    write(_entry("valid") + _entry("newer"))

    credentials.look()

    assert credentials.of_token(b"valid") == credentials.of_token(b"newer") == READER


def test_a_token_is_invalid_from_the_instant_it_expires(
    credentials: FileCredentials, write: Callable[..., Path]
) -> None:
    """As a lease is: at that instant it is over."""
    write(_entry("valid", expires_at=NOON))
    credentials.load()

    with freeze_time("2026-11-25T11:59:59.999999Z") as frozen:
        before = credentials.of_token(b"valid")
        frozen.move_to(NOON)
        after = credentials.of_token(b"valid")

    assert before == READER
    assert after is None


def test_a_certificate_is_known_by_any_of_its_names(write: Callable[..., Path]) -> None:
    """The first that is known counts; they are compared as a whole."""
    file = write(
        '[[certificates]]\nname = "DNS:b.internal"\nprincipal = "b"\nroles = ["read"]\n'
        '[[certificates]]\nname = "URI:c"\nprincipal = "c"\nroles = ["read"]\n'
    )
    credentials = FileCredentials(file)
    credentials.load()

    found = credentials.of_certificate(["DNS:a.internal", "URI:c", "DNS:b.internal"])

    assert found == Principal("c", frozenset({Role.READ}))
    for names in ([], ["b.internal"], ["DNS:B.internal"], ["DNS:x.b.internal"]):
        assert credentials.of_certificate(names) is None


def test_an_address_of_a_certificate_is_known_in_any_form(
    write: Callable[..., Path],
) -> None:
    """The file may spell it out; but not name it twice, for two principals."""
    entry = '[[certificates]]\nname = "IP:{}"\nprincipal = "{}"\nroles = ["read"]\n'
    file = write(entry.format("FD00:0::07", "c"))
    credentials = FileCredentials(file)
    credentials.load()
    write(entry.format("FD00:0::07", "c") + entry.format("fd00::7", "d"))

    with pytest.raises(SecretUnusable, match="one address as the name of two"):
        credentials.load()

    found = credentials.of_certificate(["IP:fd00::7"])
    assert found is not None
    assert found.name == "c"


def test_a_look_reads_what_changed(
    credentials: FileCredentials,
    write: Callable[..., Path],
    told: Callable[[str], int],
) -> None:
    """Who is in the file no more is known no more; an unchanged file is let be."""
    write(_entry("other"))

    credentials.look()
    credentials.look()

    assert credentials.of_token(b"valid") is None
    assert credentials.of_token(b"other") == READER
    assert told("credentials_read") == 1


def test_a_look_sees_an_edit_in_the_same_place(credentials: FileCredentials) -> None:
    """Of the same length, and with its old time put back."""
    file = Path("credentials.toml")
    about = file.stat()
    file.write_text(file.read_text().replace('"reader"', '"writer"'))
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))

    credentials.look()

    found = credentials.of_token(b"valid")
    assert found is not None
    assert found.name == "writer"


@pytest.mark.parametrize("text", ["", "[[tokens]", _entry("valid") * 2, "x = 1"])
def test_a_file_that_cannot_be_used_changes_nothing(
    credentials: FileCredentials,
    write: Callable[..., Path],
    refusals: list[str],
    text: str,
) -> None:
    """Nobody is locked out by a slip; it is counted."""
    write(text)

    credentials.look()
    credentials.reload()

    assert credentials.of_token(b"valid") == READER
    assert refusals == ["refused"] * 2


def test_a_file_that_became_open_to_others_is_refused(
    credentials: FileCredentials, refusals: list[str]
) -> None:
    """Also when nothing but its mode changed."""
    Path("credentials.toml").chmod(0o644)

    credentials.look()

    assert refusals == ["refused"]


def test_a_missing_file_changes_nothing_until_it_is_back(
    credentials: FileCredentials,
    write: Callable[..., Path],
    refusals: list[str],
    told: Callable[[str], int],
) -> None:
    """Who removes the file revokes nobody, and is told so."""
    Path("credentials.toml").unlink()
    credentials.look()
    meanwhile = credentials.of_token(b"valid")

    write(_entry("other"))
    credentials.look()

    assert meanwhile == READER
    assert credentials.of_token(b"valid") is None
    assert refusals == ["refused"]
    assert told("credentials_refused") == 1


def test_a_refusal_is_told_once_a_minute_while_it_lasts(
    credentials: FileCredentials,
    write: Callable[..., Path],
    monotonic: Seconds,
    told: Callable[[str], int],
) -> None:
    """Looks come twice a second; and a new refusal is told at once."""
    Path("credentials.toml").unlink()
    for _ in range(121):
        credentials.look()
        monotonic.now += 0.5
    lasting = told("credentials_refused")
    write(_entry("valid"))
    credentials.look()
    Path("credentials.toml").unlink()
    credentials.look()

    assert lasting == 2
    assert told("credentials_refused") == 3


def test_loading_tells_what_is_wrong(write: Callable[..., Path]) -> None:
    """At the start there is nothing to go on with."""
    with pytest.raises(SecretUnusable, match=r"^credentials\.toml is open to others"):
        FileCredentials(write(_entry("valid"), mode=0o644)).load()


def test_no_repr_tells_a_token_or_its_hash(credentials: FileCredentials) -> None:
    """Of nothing that a traceback could show."""
    digest = hashlib.sha256(b"valid")
    shown = repr(vars(credentials)) + repr(credentials._known)
    shown += repr(list(credentials._known.tokens.values()))

    assert "valid" not in shown
    assert digest.hexdigest() not in shown
    assert repr(digest.digest()) not in shown
