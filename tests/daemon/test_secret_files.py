"""Files that hold secrets."""

import os
from pathlib import Path

import pytest

from daemon.secret_files import SecretUnusable, open_secret

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a file of ours that nobody else may read."""
    path = tmp_path / "secret"
    path.write_bytes(b"secret")
    path.chmod(0o600)
    return path


def _content(path: Path) -> bytes:
    with open_secret(path) as file:
        return file.read()


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_ours_alone_is_read(secret: Path, mode: int) -> None:
    """Whether we may write to it or not."""
    secret.chmod(mode)

    assert _content(secret) == b"secret"


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o644])
def test_a_file_that_is_open_to_others_is_refused(secret: Path, mode: int) -> None:
    """Any right of the group or of everybody; the sentence says what to run."""
    secret.chmod(mode)

    with pytest.raises(SecretUnusable) as refused:
        open_secret(secret)

    assert str(refused.value) == (
        f"{secret} is open to others, its mode is {mode:04o}: chmod 600 {secret}"
    )


def test_a_link_is_judged_by_its_target(secret: Path) -> None:
    """Its own mode means nothing, and its name is the one that is told."""
    link = secret.with_name("link")
    link.symlink_to(secret)
    read = _content(link)
    secret.chmod(0o644)

    with pytest.raises(SecretUnusable, match=r"link is open to others"):
        open_secret(link)

    assert read == b"secret"


@as_root
def test_a_file_of_somebody_else_is_refused(secret: Path) -> None:
    """Whoever owns it could change it."""
    os.chown(secret, 12345, 0)

    with pytest.raises(SecretUnusable, match=r"belongs to user 12345.*chown 0 /"):
        open_secret(secret)


@as_root
def test_a_file_of_somebody_who_is_trusted_is_read(secret: Path) -> None:
    """Root edits the file of the user that the daemon runs as."""
    os.chown(secret, 12345, 0)

    with open_secret(secret, owners={12345}) as file:
        assert file.read() == b"secret"


def test_what_systemd_passed_is_read(secret: Path) -> None:
    """It guards the folder, and may let its user in by an access list."""
    secret.chmod(0o440)
    passed = {"CREDENTIALS_DIRECTORY": str(secret.parent)}

    with open_secret(secret, environ=passed) as file:
        assert file.read() == b"secret"


def test_only_what_systemd_passed_is_let_off(secret: Path) -> None:
    """Not what lies elsewhere while there is such a folder."""
    secret.chmod(0o440)
    passed = {"CREDENTIALS_DIRECTORY": str(secret.parent / "credentials")}

    with pytest.raises(SecretUnusable, match="open to others"):
        open_secret(secret, environ=passed)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder; or a pipe, which would keep us waiting."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(0o700)

    for name in ("pipe", "folder"):
        with pytest.raises(SecretUnusable, match=rf"{name} is no file$"):
            open_secret(tmp_path / name)


def test_a_missing_file_is_refused_by_name() -> None:
    """With the system's reason."""
    with pytest.raises(SecretUnusable, match=r"^gone cannot be read: No such file"):
        open_secret(Path("gone"))
