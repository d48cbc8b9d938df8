"""Files that hold secrets: what others may read is not used."""

import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import BinaryIO

#: What a file's group and everybody else may do with it.
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SecretUnusable(Exception):
    """A file that callers or the registry are known by; the text says what is wrong.

    It names the file and the cure, and repeats no secret.
    """


def open_secret(
    path: Path,
    *,
    owners: Collection[int] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> BinaryIO:
    """Open a file that nobody else may read; a link is judged by its target.

    Args:
        path: the file.
        owners: whose it may be, by number; by default ours, or root's.
        environ: where systemd names the folder of its credentials.

    Raises:
        SecretUnusable: it cannot be read, or others could read or replace it.
    """
    opened = open_file(path)
    try:
        about = os.fstat(opened.fileno())
        _require_owner(path, about, owners or {0, os.geteuid()})
        if not _is_systemds(path, environ):
            _require_privacy(path, about)
    except BaseException:
        opened.close()
        raise
    return opened


def open_file(path: Path) -> BinaryIO:
    """Open what must be a file, whoever may read it.

    Raises:
        SecretUnusable: it cannot be read.
    """
    try:
        # A pipe would keep us waiting for somebody who writes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SecretUnusable(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SecretUnusable(f"{path} is no file")
    return os.fdopen(descriptor, "rb")


def _require_owner(path: Path, about: os.stat_result, owners: Collection[int]) -> None:
    if about.st_uid not in owners:
        raise SecretUnusable(
            f"{path} belongs to user {about.st_uid}, who could change it: "
            f"chown {os.geteuid()} {path}"
        )


def _require_privacy(path: Path, about: os.stat_result) -> None:
    if about.st_mode & _OTHERS:
        mode = stat.S_IMODE(about.st_mode)
        raise SecretUnusable(
            f"{path} is open to others, its mode is {mode:04o}: chmod 600 {path}"
        )


def _is_systemds(path: Path, environ: Mapping[str, str]) -> bool:
    # It lets in the unit's user by an access list, whose mask stands where the
    # rights of a group do; nobody else gets into the folder (systemd.exec(5)).
    folder = environ.get("CREDENTIALS_DIRECTORY")
    return folder is not None and path.resolve().is_relative_to(folder)
