"""Tokens are issued and revoked in the credentials file."""

import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from api.access import Role
from daemon import issuing
from daemon.authentication import FileCredentials
from daemon.credentials import TokenEntry
from daemon.issuing import Grant, UnknownToken
from daemon.secret_files import SecretUnusable

NOON = datetime(2026, 11, 25, 12, 0, 0, 987_654, tzinfo=UTC)
FILE = Path("credentials.toml")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def add() -> Callable[..., tuple[str, TokenEntry]]:
    """Return a function that adds a token of a reader, and returns it."""

    def add(principal: str = "reader", file: Path = FILE) -> tuple[str, TokenEntry]:
        token, entry = issuing.new_token(Grant(principal, [Role.READ]), NOON)
        issuing.add(file, entry)
        return token, entry

    return add


def test_a_token_is_256_random_bits_behind_a_prefix() -> None:
    """In characters that need no escaping; no two are the same."""
    grant = Grant("reader", [Role.READ])
    tokens = {issuing.new_token(grant, NOON)[0] for _ in range(100)}

    assert len(tokens) == 100
    assert all(re.fullmatch(r"areg_[A-Za-z0-9_-]{43}", token) for token in tokens)


def test_an_added_token_is_known(add: Callable[..., tuple[str, TokenEntry]]) -> None:
    """By what it hashes to: the token itself is not in the file."""
    token, entry = add()

    credentials = FileCredentials(FILE)
    credentials.load()
    known = credentials.of_token(token.encode())
    assert known is not None
    assert known.name == "reader"
    assert token not in FILE.read_text()
    assert token not in repr(entry)


def test_what_is_granted_is_read_back() -> None:
    """All of it, to the second."""
    grant = Grant("b", [Role.AGENT, Role.READ], ["b-*", "b.*"], NOON + timedelta(1))
    _, entry = issuing.new_token(grant, NOON)

    issuing.add(FILE, entry)

    (read,) = issuing.read(FILE).tokens
    assert read == entry
    assert read.agents == ("b-*", "b.*")
    assert str(read.created_at) == "2026-11-25 12:00:00+00:00"
    assert str(read.expires_at) == "2026-11-26 12:00:00+00:00"


@pytest.mark.parametrize(
    "grant",
    [
        Grant('b"\nroles = ["admin"]', [Role.READ]),
        Grant("b", []),
        Grant("b", [Role.AGENT]),
        Grant("b", [Role.READ], ["b-*"]),
        Grant("b", [Role.AGENT], ['b"']),
    ],
)
def test_no_token_is_made_for_what_is_no_grant(grant: Grant) -> None:
    """Nothing that would mean something else in the file."""
    with pytest.raises(ValidationError):
        issuing.new_token(grant, NOON)


def test_a_new_file_is_ours_alone(add: Callable[..., tuple[str, TokenEntry]]) -> None:
    """Whatever the mask of this process."""
    before = os.umask(0)
    try:
        add()
    finally:
        os.umask(before)

    assert FILE.stat().st_mode & 0o777 == 0o600
    assert [*Path().iterdir()] == [FILE]


def test_comments_certificates_and_the_mode_are_kept(
    add: Callable[..., tuple[str, TokenEntry]],
) -> None:
    """People edit the file too."""
    _, first = add("first")
    written = (
        FILE.read_text()
        + "# the portal\n[[certificates]]\nname = 'DNS:portal'  # the new one\n"
        "principal = 'portal'\nroles = ['read']\n"
    )
    FILE.write_text(written)
    FILE.chmod(0o400)

    _, second = add("second")
    issuing.revoke(FILE, [second.id])

    assert FILE.read_text().rstrip() == written.rstrip()
    assert FILE.stat().st_mode & 0o777 == 0o400
    assert [entry.id for entry in issuing.read(FILE).tokens] == [first.id]


def test_revoking_leaves_the_others(add: Callable[..., tuple[str, TokenEntry]]) -> None:
    """And the comments that stand before them."""
    ids = [add(f"p-{n}")[1].id for n in range(4)]
    text = FILE.read_text()
    FILE.write_text(
        text.replace(
            f'[[tokens]]\nid = "{ids[2]}"', f"# two\n[[tokens]]\nid = '{ids[2]}'"
        )
    )

    issuing.revoke(FILE, [ids[1], ids[3]])

    assert [entry.principal for entry in issuing.read(FILE).tokens] == ["p-0", "p-2"]
    assert "# two\n[[tokens]]\n" in FILE.read_text()


def test_revoking_leaves_a_text_whose_line_begins_like_a_table(
    add: Callable[..., tuple[str, TokenEntry]],
) -> None:
    """Such a line is no table."""
    _, first = add()
    text = (
        '[[certificates]]\nname = """URI:\\\n  [x]"""\n'
        "principal = 'x'\nroles = ['read']\n"
    )
    FILE.write_text(FILE.read_text() + text)
    _, second = add()

    issuing.revoke(FILE, [first.id, second.id])

    assert FILE.read_text().rstrip().endswith(text.rstrip())
    assert [entry.name for entry in issuing.read(FILE).certificates] == ["URI:[x]"]
    assert issuing.read(FILE).tokens == ()


def test_revoking_the_last_token_leaves_a_file_that_knows_nobody(
    add: Callable[..., tuple[str, TokenEntry]],
) -> None:
    """Not an empty one, which the daemon takes for half written."""
    _, entry = add()
    FILE.write_text(FILE.read_text().partition("\n\n")[2])

    issuing.revoke(FILE, [entry.id])

    assert issuing.read(FILE).tokens == ()


def test_an_unknown_id_revokes_nothing(
    add: Callable[..., tuple[str, TokenEntry]],
) -> None:
    """All of them, or none."""
    _, entry = add()
    before = FILE.read_text()

    with pytest.raises(
        UnknownToken, match=r"^no token in credentials.toml has.* nope$"
    ):
        issuing.revoke(FILE, [entry.id, "nope"])

    assert FILE.read_text() == before


def test_a_file_that_is_no_list_of_tables_is_left_to_people(
    add: Callable[..., tuple[str, TokenEntry]],
) -> None:
    """It is not written anew in another shape; nothing changes."""
    _, entry = add()
    add()
    _, *tables = FILE.read_text().split("[[tokens]]\n")
    values = [table.strip().replace("\n", ", ") for table in tables]
    inline = f"tokens = [{{{values[0]}}}, {{{values[1]}}}]\n"
    FILE.write_text(inline)

    for change in (lambda: issuing.revoke(FILE, [entry.id]), add):
        with pytest.raises(SecretUnusable, match="edit it by hand"):
            change()

    assert FILE.read_text() == inline


@pytest.mark.parametrize("spoil", ["open", "broken", "empty"])
def test_a_file_that_cannot_be_used_is_not_edited(
    add: Callable[..., tuple[str, TokenEntry]], spoil: str
) -> None:
    """The daemon would not take it either."""
    add()
    if spoil == "open":
        FILE.chmod(0o644)
    else:
        FILE.write_text("[[tokens]" if spoil == "broken" else "")
    before = FILE.read_text()

    with pytest.raises(SecretUnusable):
        add()

    assert FILE.read_text() == before
    assert [*Path().iterdir()] == [FILE]


def test_a_link_to_the_file_stays_one(
    add: Callable[..., tuple[str, TokenEntry]], tmp_path: Path
) -> None:
    """What it leads to is edited."""
    add()
    (tmp_path / "folder").mkdir()
    link = tmp_path / "folder" / "link.toml"
    link.symlink_to(tmp_path / FILE)

    add("second", link)

    assert link.is_symlink()
    assert [entry.principal for entry in issuing.read(FILE).tokens][-1] == "second"


def test_what_a_link_leads_to_is_made(
    add: Callable[..., tuple[str, TokenEntry]], tmp_path: Path
) -> None:
    """The link stays one there too; one that leads to itself is not replaced."""
    link, loop = tmp_path / "link.toml", tmp_path / "loop.toml"
    link.symlink_to(tmp_path / FILE)
    loop.symlink_to(loop)

    add("first", link)
    with pytest.raises(SecretUnusable, match="Too many levels of symbolic links"):
        add("second", loop)

    assert link.is_symlink()
    assert [entry.principal for entry in issuing.read(FILE).tokens] == ["first"]
    assert loop.is_symlink()


@as_root
def test_root_edits_the_file_of_the_daemons_user(
    add: Callable[..., tuple[str, TokenEntry]], tmp_path: Path
) -> None:
    """A new one is of whoever owns the folder, and stays so."""
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, 12345, 23456)
    file = folder / "credentials.toml"

    add("first", file)
    add("second", file)

    about = file.stat()
    assert (about.st_uid, about.st_gid, about.st_mode & 0o777) == (12345, 23456, 0o600)
    assert len(issuing.read(file).tokens) == 2


def test_an_edit_waits_for_the_one_before(
    add: Callable[..., tuple[str, TokenEntry]],
) -> None:
    """Whoever else has the file locked; and then takes what that made of it."""
    add("first")
    new = Path("new.toml")
    with FILE.open() as opened, ThreadPoolExecutor() as pool:
        fcntl.flock(opened, fcntl.LOCK_SH)
        adding = pool.submit(add, "third")
        with pytest.raises(TimeoutError):
            adding.result(0.2)
        add("second", new)
        new.replace(FILE)

        fcntl.flock(opened, fcntl.LOCK_UN)

        adding.result(10)
    principals = [entry.principal for entry in issuing.read(FILE).tokens]
    assert principals == ["second", "third"]


def test_an_edit_waits_for_nobody_who_may_not_read_the_file(
    add: Callable[..., tuple[str, TokenEntry]],
) -> None:
    """The folder may be locked by whoever can look into it, and for ever."""
    add()
    folder = os.open(".", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with ThreadPoolExecutor() as pool:
        adding = pool.submit(add)
        try:
            adding.result(5)
        finally:
            os.close(folder)

    assert len(issuing.read(FILE).tokens) == 2


def test_no_edit_is_lost_among_others() -> None:
    """Three processes add ten tokens each, at the same time."""
    program = (
        "from pathlib import Path; from api.access import Role;"
        "from daemon import issuing; from store.clock import utcnow\n"
        "for n in range(10):\n"
        "    grant = issuing.Grant(f'p{n}', [Role.READ])\n"
        "    entry = issuing.new_token(grant, utcnow())[1]\n"
        "    issuing.add(Path('credentials.toml'), entry)\n"
    )
    root = Path(__file__).parents[2]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root)}
    adding = [
        subprocess.Popen([sys.executable, "-c", program], env=environ) for _ in range(3)
    ]

    statuses = [process.wait(60) for process in adding]

    assert statuses == [0] * 3
    assert len(issuing.read(FILE).tokens) == 30
    assert [*Path().iterdir()] == [FILE]
