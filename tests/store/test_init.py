"""What a URL makes."""

from pathlib import Path

import pytest

from store import StoreUnusable, create_storage_backend


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("sqlite:///registry.db", "registry.db"),
        ("sqlite:////var/lib/registry.db", "/var/lib/registry.db"),
        ("sqlite:///a folder/ünï?&#%20.db", "a folder/ünï?&#%20.db"),
    ],
)
def test_a_url_names_a_file_relative_or_absolute(url: str, location: str) -> None:
    """What stands behind the third slash is the path, taken as it is."""
    assert create_storage_backend(url).database.location == location


def test_the_default_is_a_file_in_the_working_directory() -> None:
    """As the shipped configuration says."""
    assert create_storage_backend().database.location == "agent-registry.db"


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("", "the URL"),
        ("registry.db", "the URL"),
        ("/var/lib/registry.db", "the URL"),
        ("mysql:", "the URL"),
        ("user:secret@db/registry", "the URL"),
        ("user:secret@db://registry", "the URL"),
        ("sqlite://registry.db", "sqlite://..."),
        ("sqlite:///", "sqlite://..."),
        ("sqlite:///:memory:", "sqlite://..."),
        ("SQLITE:///registry.db", "SQLITE://..."),
        ("postgresql://user:secret@db/registry", "postgresql://..."),
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str, named: str) -> None:
    """The message tells its scheme, and shows how to write one."""
    with pytest.raises(StoreUnusable) as refused:
        create_storage_backend(url)

    assert str(refused.value) == (
        f"{named} names no store: write sqlite:///relative.db "
        "or sqlite:////absolute/path.db"
    )


def test_making_a_store_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is opened by its first use."""
    monkeypatch.chdir(tmp_path)
    create_storage_backend()

    assert list(tmp_path.iterdir()) == []


def test_a_url_with_a_nul_names_no_store() -> None:
    """No file system has such a path."""
    with pytest.raises(StoreUnusable, match="names no store"):
        create_storage_backend("sqlite:///a\x00b.db")
