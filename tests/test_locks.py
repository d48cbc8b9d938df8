"""The locks of what is installed: complete, in agreement, and of no index."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RUN, DEV, AUDIT = (
    ROOT / f"requirements{suffix}.txt" for suffix in ("", "-dev", "-audit")
)


def _pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"(?m)^(\S+)==(\S+)", lock.read_text()))


@pytest.mark.parametrize("lock", [RUN, DEV, AUDIT], ids=lambda lock: lock.stem)
def test_every_version_has_its_hashes_and_no_index_is_named(lock: Path) -> None:
    """Whatever index a site uses, it installs these files or nothing."""
    text = lock.read_text().replace("\\\n", "")

    assert _pins(lock)
    for line in text.splitlines():
        assert re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line


@pytest.mark.parametrize(
    ("lock", "base"), [(DEV, RUN), (AUDIT, DEV)], ids=lambda lock: lock.stem
)
def test_locks_that_share_an_environment_agree(lock: Path, base: Path) -> None:
    """Installing the one does not undo the other."""
    pins, others = _pins(lock), _pins(base)

    shared = pins.keys() & others.keys()

    assert shared
    assert {name: pins[name] for name in shared} == {
        name: others[name] for name in shared
    }


def test_the_audit_asks_about_every_lock_and_takes_no_silence_for_an_answer() -> None:
    """A list that cannot be reached fails it: found nothing is not asked nothing."""
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", "")

    recipe = next(line for line in makefile.splitlines() if "pip-audit -" in line)

    assert "--strict" in recipe
    assert {f"-r {lock.name}" for lock in (RUN, DEV)} <= set(
        re.findall(r"-r \S+", recipe)
    )
