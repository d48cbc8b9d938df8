"""The configuration: one file, the environment over it."""

import json
import re
import tomllib
import typing
from pathlib import Path
from typing import Any

import pytest

from daemon.config import Config, ConfigError, load_config

SHIPPED = Path(__file__).parents[2] / "config.toml"
KEYS = [
    (section, key, field.annotation, field.default)
    for section, values in Config.model_fields.items()
    for key, field in type(values.default).model_fields.items()
]
#: Keys that are valid only beside another.
COMPANIONS = {
    ("auth", "mode"): {"file": "credentials.toml"},
    ("tls", "certificate"): {"key": "key.pem"},
    ("tls", "key"): {"certificate": "cert.pem"},
    ("tls", "client_ca"): {"certificate": "cert.pem", "key": "key.pem"},
}
each_key = pytest.mark.parametrize(
    ("section", "key", "kind", "default"), KEYS, ids=[f"{s}.{k}" for s, k, *_ in KEYS]
)


def _another(kind: Any, default: Any) -> Any:
    """Return a value that is valid, and not the default."""
    choices = [choice for choice in typing.get_args(kind) if isinstance(choice, str)]
    if choices:
        return next(choice for choice in choices if choice != default)
    if kind is bool:
        return not default
    if kind is float:
        return default / 2
    if isinstance(default, list):
        return ["10.0.0.1"]
    return default + "x" if isinstance(default, str) else default + 1


def test_the_shipped_file_holds_the_defaults() -> None:
    """Every key, in the order of the code, with the value it has without a file."""
    shipped = tomllib.loads(SHIPPED.read_text())

    assert shipped == Config().model_dump()
    assert [(s, k) for s in shipped for k in shipped[s]] == [k[:2] for k in KEYS]


@each_key
def test_each_key_of_the_shipped_file_is_explained(
    section: str, key: str, kind: Any, default: Any
) -> None:
    """A comment stands beside every key."""
    del section, kind, default

    assert re.search(rf"^{key} = .+  # \S", SHIPPED.read_text(), re.MULTILINE)


@each_key
def test_each_key_is_set_by_the_file(
    section: str, key: str, kind: Any, default: Any
) -> None:
    """What the file says stands in the configuration."""
    wanted = _another(kind, default)
    values = COMPANIONS.get((section, key), {}) | {key: wanted}
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    Path("config.toml").write_text("\n".join([f"[{section}]", *lines]))

    assert getattr(getattr(load_config(), section), key) == wanted


@pytest.mark.parametrize(
    ("section", "key"), [(s, k) for s, k, kind, _ in KEYS if kind in (int, float)]
)
def test_each_number_has_an_upper_bound(section: str, key: str) -> None:
    """One beyond SQLite's integers, or a calendar, would fail at its first use."""
    Path("config.toml").write_text(f"[{section}]\n{key} = {2**63}\n")

    with pytest.raises(ConfigError, match=rf"^{section}.{key}: .* less than or equal"):
        load_config()


@pytest.mark.parametrize(
    ("section", "key"), [(s, k) for s, k, kind, _ in KEYS if kind is str]
)
def test_no_text_has_a_nul(section: str, key: str) -> None:
    """Opening a file of such a name ended the start in a traceback."""
    values = COMPANIONS.get((section, key), {}) | {key: "a\0b"}
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    Path("config.toml").write_text("\n".join([f"[{section}]", *lines]))

    with pytest.raises(ConfigError) as refused:
        load_config()

    assert str(refused.value) == f"{section}.{key}: it has a NUL (from config.toml)"


@each_key
def test_the_environment_beats_the_file(
    section: str, key: str, kind: Any, default: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each key has a variable of its own; its neighbours keep their values."""
    Path("config.toml").write_text(SHIPPED.read_text())
    wanted = _another(kind, default)
    values = COMPANIONS.get((section, key), {}) | {key: wanted}
    for name, value in values.items():
        variable = f"AGENT_REGISTRY_{section.upper()}__{name.upper()}"
        said = json.dumps(value) if isinstance(value, list) else str(value)
        monkeypatch.setenv(variable, said)

    loaded = load_config().model_dump()

    defaults = Config.model_construct().model_dump()
    assert defaults[section][key] == default
    defaults[section] |= values
    assert loaded == defaults


def test_the_file_is_sought_where_it_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The argument first, then the variable, then the folder, then the defaults."""
    found = [load_config().server.port]
    Path("config.toml").write_text("[server]\nport = 1\n")
    found.append(load_config().server.port)
    (tmp_path / "named.toml").write_text("[server]\nport = 2\n")
    monkeypatch.setenv("AGENT_REGISTRY_CONFIG", str(tmp_path / "named.toml"))
    found.append(load_config().server.port)
    (tmp_path / "given.toml").write_text("[server]\nport = 3\n")
    found.append(load_config(tmp_path / "given.toml").server.port)

    assert found == [8790, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("[server]\nprot = 1", "server.prot", "is no known key"),
        ("[sever]\nport = 1", "sever", "is no known key"),
        ("port = 1", "port", "is no known key"),
        ("server = 1", "server", "should be a section, [server]"),
        ("[[auth]]\nmode = 'tokens'", "auth", "should be a section, [auth]"),
        ("[AUTH]\nmode = 'tokens'", "AUTH", "is no known key"),
        ("_env_prefix = 'X_'", "_env_prefix", "is no known key"),
        ("[_env_prefix]", "_env_prefix", "is no known key"),
        ("__pydantic_self__ = 1", "__pydantic_self__", "is no known key"),
        ("[server]\nport = 65536", "server.port", "less than or equal to 65535"),
        ("[server]\nport = 'http'", "server.port", "valid integer"),
        ("[server]\nhost = ''", "server.host", "at least 1 character"),
        ("[server]\ndrain_seconds = 0", "server.drain_seconds", "greater than or"),
        ("[server]\nallowed_hosts = ['a:1']", "server.allowed_hosts", "match pattern"),
        (
            "[server]\ntrusted_proxies = ['*']",
            "server.trusted_proxies",
            "IPv4 or IPv6 network",
        ),
        ("[store]\nsynchronous = 'off'", "store.synchronous", "'full' or 'normal'"),
        ("[store]\nreader_threads = 0", "store.reader_threads", "greater than or"),
        ("[leases]\nmin_ttl_seconds = 61", "leases", "min_ttl_seconds <= default_ttl"),
        ("[leases]\nmax_ttl_seconds = 59", "leases", "<= max_ttl_seconds must hold"),
        ("[leases]\nsweep_interval_seconds = 0", "leases.sweep_interval", "greater"),
        ("[leases]\nsweep_interval_seconds = inf", "leases.sweep_interval", "less"),
        ("[leases]\nsweep_interval_seconds = nan", "leases.sweep_interval", "less"),
        ("[server]\ndocs = 'yes'", "server.docs", "'auto', 'on' or 'off'"),
        ("[auth]\nmode = 'tokens'", "auth", 'mode = "tokens" takes a file'),
        ("[tls]\ncertificate = 'a'", "tls", "certificate and key go together"),
        ("[tls]\nkey = 'a'", "tls", "certificate and key go together"),
        ("[tls]\nclient_ca = 'a'", "tls", "client_ca takes a certificate and a key"),
        ("[quota]\nagents = 0", "quota.agents", "greater than or"),
        ("[quota]\nregistrations_per_second = inf", "quota.registrations", "less"),
        ("[quota]\nregistrations_per_second = 1e-320", "quota.reg", "greater than or"),
        ("[server]\nallowed_hosts = 'a'", "server.allowed_hosts", 'list such as ["a"'),
        ("[log]\nlevel = 'loud'", "log.level", "'debug', 'info'"),
    ],
)
def test_a_wrong_file_is_refused_by_key_and_name(
    text: str, key: str, reason: str
) -> None:
    """The message names the key, what is wrong with it, and the file."""
    Path("config.toml").write_text(text)

    with pytest.raises(ConfigError) as refused:
        load_config()

    assert str(refused.value).startswith(key)
    assert reason in str(refused.value)
    assert str(refused.value).endswith("(from config.toml)")


@pytest.mark.parametrize(
    "text",
    ["[[auth]]\nmode = 'tokens'", "auth = 'tokens'", "auth = 3", "[auth]\n[AUTH]"],
)
def test_a_variable_hides_no_section_that_is_none(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All else that it says would be gone unseen, and everybody be let in."""
    Path("config.toml").write_text(text)
    monkeypatch.setenv("AGENT_REGISTRY_AUTH__ALLOW_INSECURE", "true")

    with pytest.raises(ConfigError, match=r"(?i)^auth: .* \(from config\.toml\)$"):
        load_config()


@pytest.mark.parametrize(
    ("variable", "value", "key"),
    [
        ("AGENT_REGISTRY_SERVER__PORT", "http", "server.port"),
        ("AGENT_REGISTRY_LOG__LEVEL", "", "log.level"),
        ("AGENT_REGISTRY_LEASES__MIN_TTL_SECONDS", "61", "leases"),
    ],
)
def test_a_wrong_variable_is_refused_by_key_and_name(
    variable: str, value: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the variable, although there is a file too."""
    Path("config.toml").write_text(SHIPPED.read_text())
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigError, match=rf"^{key}: .* \(from {variable}\)$"):
        load_config()


@pytest.mark.parametrize(
    "value",
    ["registry.internal", "", '["a"', f"[{'9' * 5000}]", "[" * 100_000],
    ids=["name", "empty", "open", "digits", "depth"],
)
def test_a_variable_of_a_list_takes_json(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the message shows how one is written; what was said is not repeated."""
    variable = "AGENT_REGISTRY_SERVER__ALLOWED_HOSTS"
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigError) as refused:
        load_config()

    assert str(refused.value) == (
        f'server.allowed_hosts: it takes a list such as ["a", "b"] (from {variable})'
    )


@pytest.mark.parametrize(
    "variable",
    ["AGENT_REGISTRY_SERVER__PROT", "AGENT_REGISTRY_PORT", "AGENT_REGISTRY_SERVER"],
)
def test_an_unknown_variable_is_refused(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt variable would otherwise leave the default in force, unseen."""
    monkeypatch.setenv(variable, "{}")

    with pytest.raises(ConfigError, match=f"{variable} is no known key"):
        load_config()


@pytest.mark.parametrize("variable", ["AGENT_REGISTRY_URL", "AGENT_REGISTRY_TOKEN"])
def test_the_clients_own_variables_are_let_be(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What names the registry to agents is no key of the daemon."""
    monkeypatch.setenv(variable, "http://127.0.0.1:8790")

    assert load_config() == Config()


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("127.0.0.1/8", "127.0.0.0/8"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("fd00::7/64", "fd00::/64"),
        ("192.168.0.1", "192.168.0.1"),
    ],
)
def test_a_network_of_proxies_is_named_by_any_of_its_addresses(
    said: str, meant: str
) -> None:
    """Uvicorn reads it more strictly, and would believe nobody, without a word."""
    Path("config.toml").write_text(f"[server]\ntrusted_proxies = ['{said}']\n")

    assert load_config().server.trusted_proxies == [meant]


def test_a_missing_file_is_refused_by_name() -> None:
    """A file that was named must be there."""
    with pytest.raises(ConfigError, match=r"^gone\.toml cannot be read: No such file"):
        load_config(Path("gone.toml"))


@pytest.mark.parametrize(
    "content",
    [b"port 1", b"host = '\xff'", b"port = " + b"9" * 5000, b"port = " + b"[" * 3000],
    ids=["syntax", "text", "digits", "depth"],
)
def test_a_file_that_is_no_toml_is_refused_by_name(content: bytes) -> None:
    """Nor one of broken text, or with what is too long or too deep to read."""
    Path("config.toml").write_bytes(content)

    with pytest.raises(ConfigError, match=r"^config\.toml is not TOML: "):
        load_config()
