"""What a credentials file may say."""

from pathlib import Path

import pytest

from api.access import Principal, Role
from daemon.credentials import _require_distinct, parse
from daemon.secret_files import SecretUnusable

SOURCE = Path("credentials.toml")
HASH = "sha256:" + "5e" * 32
TOKEN = f"""
[[tokens]]
id = "k3v9x2"
hash = "{HASH}"
principal = "billing"
roles = ["agent", "read"]
agents = ["billing-*"]
created_at = 2026-11-25T15:00:00Z
"""
CERTIFICATE = """
[[certificates]]
name = "DNS:billing.internal"
principal = "billing"
roles = ["agent"]
agents = ["billing-*"]
"""


def _refusal(text: str) -> str:
    with pytest.raises(SecretUnusable) as refused:
        parse(text.encode(), SOURCE)
    return str(refused.value)


def test_a_token_and_a_certificate_name_a_principal() -> None:
    """With its roles and its patterns."""
    document = parse((TOKEN + CERTIFICATE).encode(), SOURCE)

    roles = frozenset({Role.AGENT, Role.READ})
    (token,), (certificate,) = document.tokens, document.certificates
    assert token.as_principal() == Principal("billing", roles, ("billing-*",))
    assert token.digest == b"\x5e" * 32
    assert token.expires_at is None
    assert certificate.name == "DNS:billing.internal"
    assert certificate.as_principal().roles == {Role.AGENT}


def test_instants_are_in_utc() -> None:
    """Wherever they were written."""
    text = TOKEN + "expires_at = 2027-11-25T17:00:00+02:00\n"

    (token,) = parse(text.encode(), SOURCE).tokens

    assert str(token.expires_at) == "2027-11-25 15:00:00+00:00"


def test_a_file_with_comments_only_knows_nobody() -> None:
    """As the last token was revoked; nobody is let in by it."""
    document = parse(b"# nobody\n", SOURCE)

    assert (document.tokens, document.certificates) == ((), ())


@pytest.mark.parametrize(
    "name", ["URI:spiffe://a/b", "IP:10.0.0.7", "email:a@b.example"]
)
def test_each_kind_of_alternative_name_is_taken(name: str) -> None:
    """As many as a certificate may have."""
    text = CERTIFICATE.replace("DNS:billing.internal", name)

    assert parse(text.encode(), SOURCE).certificates[0].name == name


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('id = "k3v9x2"', "", "tokens.0.id: Field required"),
        ('id = "k3v9x2"', 'id = "a b"', "tokens.0.id: String should match pattern"),
        (HASH, "sha256:abc", "tokens.0.hash: String should match pattern"),
        (HASH, "md5:" + "5e" * 32, "tokens.0.hash: String should match pattern"),
        ('"billing"', '"-billing"', "tokens.0.principal: String should match"),
        ('"billing"', '"' + "b" * 65 + '"', "tokens.0.principal: String should match"),
        ('"billing"', '"billing\\n"', "tokens.0.principal: String should match"),
        ('"read"', '"reader"', "tokens.0.roles.1: Input should be 'admin', 'oper"),
        ('["agent", "read"]', "[]", "tokens.0.roles: Tuple should have at least 1"),
        ('["billing-*"]', "[]", 'tokens.0: the role "agent" takes patterns of ids'),
        ('"agent", ', "", 'tokens.0: the role "agent" takes patterns of ids, and no'),
        ("billing-*", "billing-?", "tokens.0.agents.0: String should match pattern"),
        ("billing-*", "[a-z]*", "tokens.0.agents.0: String should match pattern"),
        ("billing-*", "", "tokens.0.agents.0: String should match pattern"),
        ("created_at", "made_at", "tokens.0.made_at: is no known key"),
        ("15:00:00Z", "15:00:00", "tokens.0.created_at: Input should have timezone"),
        ("2026-11-25T15:00:00Z", '"yesterday"', "tokens.0.created_at: Input should be"),
        ("2026-11-25T15:00:00Z", "90", "tokens.0.created_at: Input should be"),
        ("[[tokens]]", "[[token]]", "token: is no known key"),
        ("[[tokens]]", "[tokens]", "tokens: Input should be a valid tuple"),
    ],
)
def test_a_wrong_token_is_refused_by_its_key(old: str, new: str, reason: str) -> None:
    """The file and the key are named, and no value."""
    refusal = _refusal(TOKEN.replace(old, new, 1))

    assert refusal.startswith("credentials.toml says what it may not: ")
    assert reason in refusal
    assert "5e5e" not in refusal
    assert "abc" not in refusal.replace("a-zA-Z", "")


@pytest.mark.parametrize(
    "name", ["billing.internal", "DN:billing", "dns:billing", "DNS:", "DNS:a b"]
)
def test_a_name_of_no_kind_is_refused(name: str) -> None:
    """It could never be found in a certificate."""
    refusal = _refusal(CERTIFICATE.replace("DNS:billing.internal", name))

    assert "certificates.0.name: String should match pattern" in refusal


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TOKEN + TOKEN.replace("5e", "5f"), "two tokens have the id k3v9x2"),
        (TOKEN + TOKEN.replace("k3v9x2", "other"), "two tokens have the same hash"),
        (CERTIFICATE * 2, "two certificates have the name DNS:billing.internal"),
    ],
)
def test_what_comes_twice_is_refused(text: str, reason: str) -> None:
    """Which of them would count could be read in two ways."""
    refusal = _refusal(text)

    assert refusal.endswith(f": {reason}")
    assert "5e5e" not in refusal


@pytest.mark.parametrize("text", ["", " \n\n"])
def test_an_empty_file_is_refused(text: str) -> None:
    """An editor leaves one for a moment; it revokes nobody."""
    assert _refusal(text) == "credentials.toml is empty"


def test_what_is_no_toml_is_refused() -> None:
    """By where it is wrong; broken text too."""
    with pytest.raises(
        SecretUnusable, match=r"^credentials\.toml is not TOML: .*utf-8"
    ):
        parse(b"# \xff", SOURCE)

    refusal = _refusal(TOKEN.replace('"k3v9x2"', '"k3v9x2'))

    assert refusal.startswith("credentials.toml is not TOML: ")
    assert "k3v9x2" not in refusal


@pytest.mark.parametrize(
    "value", ["9999-12-31T23:59:59-05:00", "9" * 5_000, "[" * 3_000 + "]" * 3_000]
)
def test_values_beyond_what_can_be_held_are_refused(value: str) -> None:
    """As anything that it may not say; each is TOML, and raises an error of its own."""
    refusal = _refusal(TOKEN + f"expires_at = {value}\n")

    assert refusal == (
        "credentials.toml has a value that is too large, or nested too deep"
    )


def test_ids_are_not_compared_with_each_other() -> None:
    """For 40,000 tokens that took half a minute."""
    compared = 0

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return super().__eq__(other)

    names = [Name(number) for number in range(1_000)]
    with pytest.raises(ValueError, match=r"^two tokens have the id 7$"):
        _require_distinct("two tokens have the id", [*names, Name(7)])

    assert compared < 10_000


def test_no_repr_tells_a_hash() -> None:
    """It would end up in a traceback."""
    document = parse((TOKEN + CERTIFICATE).encode(), SOURCE)

    assert "5e5e" not in repr(document) + str(document)
