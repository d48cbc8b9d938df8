"""One daemon a database."""

import os
import stat
from pathlib import Path

import pytest

from daemon.lock import DaemonLock, LockHeld


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a lock file that does not exist yet."""
    return tmp_path / "registry.db.lock"


def test_a_second_lock_is_refused_and_told_who_holds_it(path: Path) -> None:
    """Also within one process; the text names the process and since when."""
    first = DaemonLock(path)
    first.acquire()
    first.sign()

    with pytest.raises(LockHeld, match=rf"pid {os.getpid()} on \S+, since 20.+Z$"):
        DaemonLock(path).acquire()

    first.release()


def test_a_released_lock_can_be_taken_again(path: Path) -> None:
    """By another, and by the same; its file stays."""
    first, second = DaemonLock(path), DaemonLock(path)
    for lock in (first, second, first):
        lock.acquire()
        lock.release()

    assert path.exists()


def test_a_lock_never_taken_is_released_for_nothing(path: Path) -> None:
    """Releasing touches no file, and twice is once."""
    lock = DaemonLock(path)

    lock.release()
    lock.release()

    assert not path.exists()


def test_a_holder_that_has_not_signed_yet_is_still_refused(path: Path) -> None:
    """Until there is a database, nothing shows that a registry was there."""
    first = DaemonLock(path)
    first.acquire()

    with pytest.raises(LockHeld, match=r"^another agent-registryd$"):
        DaemonLock(path).acquire()

    first.release()


def test_a_longer_signature_leaves_nothing_behind(path: Path) -> None:
    """What an earlier holder wrote is gone; others may not read the file."""
    path.write_text("x" * 300)
    path.chmod(0o600)
    lock = DaemonLock(path)

    lock.acquire()
    signature = path.read_text()
    lock.release()

    assert signature.startswith("agent-registryd, pid ")
    assert "x" * 10 not in signature


def test_the_lock_file_is_its_owners_alone(path: Path) -> None:
    """Whoever may open it could keep the daemon from starting."""
    lock = DaemonLock(path)

    lock.acquire()
    lock.release()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_is_missing_is_an_error_of_its_own(tmp_path: Path) -> None:
    """It is not mistaken for a lock that is held."""
    with pytest.raises(FileNotFoundError):
        DaemonLock(tmp_path / "gone" / "registry.db.lock").acquire()
