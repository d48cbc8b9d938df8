"""The configuration: a file, the environment over it, defaults under both.

`config.toml` in the repository's root shows every key with its default.
"""

import ipaddress
import json
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from store import GuardRules, StoreUnusable, database_path

PREFIX = "AGENT_REGISTRY_"
#: Variables with our prefix that are no keys: the file's name, and the clients' own.
_NO_KEYS = {
    f"{PREFIX}{name}"
    for name in ("CONFIG", "URL", "TOKEN", "CA_FILE", "CERT_FILE", "KEY_FILE")
}
_DEFAULT_FILE = Path("config.toml")


class ConfigError(Exception):
    """The configuration cannot be used; the text names the key and its source."""


def _address_or_network(text: str) -> str:
    """Return it as uvicorn takes it: a network by its first address, 127.0.0.0/8."""
    network = ipaddress.ip_network(text, strict=False)
    return str(network) if "/" in text else text


def _of_json(value: object) -> object:
    """Return the list that a variable says, which is text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError('it takes a list such as ["a", "b"]') from None


def _of_a_store(url: str) -> str:
    """Return the URL, if it names a store; a password in it is not repeated."""
    try:
        database_path(url)
    except StoreUnusable as error:
        raise ValueError(str(error)) from None
    return url


_OfJson = BeforeValidator(_of_json)
#: Bounded, as SQLite's integers and the waits of the operating system are.
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
#: A name as it stands in the header Host, without a port.
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,253}$")]
AddressOrNetwork = Annotated[str, AfterValidator(_address_or_network)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_text_has_a_nul(cls, value: object) -> object:
        # Files and hosts are named by these: what opens them raises what nobody awaits.
        if isinstance(value, str) and "\x00" in value:
            raise ValueError("it has a NUL")
        return value


class ServerConfig(_Section):
    """Where the registry listens, by which names, whom it believes, what it shows."""

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8790, ge=0, le=65_535)
    keep_alive_seconds: Count = 75
    drain_seconds: Count = 10
    allowed_hosts: Annotated[list[HostName], _OfJson] = []
    trusted_proxies: Annotated[list[AddressOrNetwork], _OfJson] = []
    docs: Literal["auto", "on", "off"] = "auto"


class LimitsConfig(_Section):
    """What a connection may take, and how many may owe a request."""

    request_seconds: float = Field(default=10, gt=0, le=3600)
    response_seconds: float = Field(default=30, gt=0, le=3600)
    header_bytes: int = Field(default=16_384, ge=1024, le=1_048_576)
    unfinished_requests: Count = 8_000
    unfinished_requests_per_peer: Count = 3_000


class AuthConfig(_Section):
    """Who has to be known, and by what."""

    mode: Literal["none", "tokens"] = "none"
    file: str = ""
    allow_insecure: bool = False

    @model_validator(mode="after")
    def _tokens_are_in_a_file(self) -> Self:
        if self.mode == "tokens" and not self.file:
            raise ValueError('mode = "tokens" takes a file')
        return self


class TlsConfig(_Section):
    """By which files the registry proves itself, and has its clients do so."""

    certificate: str = ""
    key: str = ""
    client_ca: str = ""

    @model_validator(mode="after")
    def _a_certificate_has_a_key(self) -> Self:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key go together")
        if self.client_ca and not self.certificate:
            raise ValueError("client_ca takes a certificate and a key")
        return self


class QuotaConfig(_Section):
    """How many agents there may be, and how often a principal may register."""

    agents: Count = 1_000_000
    agents_per_principal: Count = 1_000
    # At least one in twelve days: Retry-After must be a number.
    registrations_per_second: float = Field(default=50.0, ge=1e-6, le=1_000_000)
    registrations_burst: Count = 1_000


class StoreConfig(_Section):
    """Where records are kept, and how safely."""

    url: Annotated[str, AfterValidator(_of_a_store)] = "sqlite:///agent-registry.db"
    synchronous: Literal["full", "normal"] = "full"
    reader_threads: int = Field(default=4, ge=1, le=64)
    wal_limit_bytes: int = Field(default=67_108_864, ge=1_048_576, le=2**40)
    reserve_bytes: int = Field(default=16_777_216, ge=0, le=2**40)


class LeasesConfig(_Section):
    """Which TTLs are granted, and how often expired agents are removed."""

    default_ttl_seconds: Count = 60
    min_ttl_seconds: Count = 1
    # At most 68 years: a deadline must be an instant that a calendar has.
    max_ttl_seconds: int = Field(default=86_400, ge=1, le=2**31 - 1)
    sweep_interval_seconds: float = Field(default=60, gt=0, le=86_400)

    @model_validator(mode="after")
    def _bounds_hold_the_default(self) -> Self:
        if not self.min_ttl_seconds <= self.default_ttl_seconds <= self.max_ttl_seconds:
            raise ValueError(
                "min_ttl_seconds <= default_ttl_seconds <= max_ttl_seconds must hold"
            )
        return self


class GuardConfig(_Section):
    """When agents that expire together are held, and for how long."""

    enabled: bool = True
    min_agents: Count = 10
    fraction: float = Field(default=0.15, gt=0, le=1)
    most_fraction: float = Field(default=0.55, gt=0, le=1)
    hold_seconds: float = Field(default=300, ge=0, le=86_400)
    hold_most_seconds: float = Field(default=3600, ge=0, le=86_400)

    def rules(self) -> GuardRules | None:
        """Return the rules, or None when nobody is to be held."""
        rules = GuardRules(**self.model_dump(exclude={"enabled"}))
        return rules if self.enabled else None


class BackupConfig(_Section):
    """Where backups go, how often, and how many are kept."""

    directory: str = ""
    interval_seconds: float = Field(default=86_400, ge=1, le=31_536_000)
    keep: Count = 7


class LogConfig(_Section):
    """What is logged, and how a line looks."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json", "journald"] = "auto"
    lines_per_minute: Count = 600


class Config(BaseSettings):
    """The whole configuration, frozen."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        enable_decoding=False,  # it ends in a traceback: see `_of_json`
        extra="forbid",
        frozen=True,
    )

    server: ServerConfig = ServerConfig()
    limits: LimitsConfig = LimitsConfig()
    auth: AuthConfig = AuthConfig()
    tls: TlsConfig = TlsConfig()
    quota: QuotaConfig = QuotaConfig()
    store: StoreConfig = StoreConfig()
    leases: LeasesConfig = LeasesConfig()
    guard: GuardConfig = GuardConfig()
    backup: BackupConfig = BackupConfig()
    log: LogConfig = LogConfig()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is given
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment beat what `load_config` read from the file."""
        return env_settings, init_settings


def load_config(file: Path | None = None) -> Config:
    """Read the configuration.

    Args:
        file: the file to read; otherwise the one `AGENT_REGISTRY_CONFIG` names,
            else `config.toml` in the working directory if there is one.

    Raises:
        ConfigError: the file is missing or no TOML, or a key is unknown or wrong.
    """
    _refuse_unknown_variables()
    found = _find(file)
    written = _read(found) if found else {}
    try:
        return Config(**written)
    except ValidationError as error:
        raise ConfigError("; ".join(_sentences(error, found))) from None


def _find(file: Path | None) -> Path | None:
    named = file or os.environ.get(f"{PREFIX}CONFIG")
    if named:
        return Path(named)
    return _DEFAULT_FILE if _DEFAULT_FILE.exists() else None


def _read(file: Path) -> dict[str, Any]:
    try:
        written = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        # Also for integers of over 4,300 digits, and for what is nested too deeply.
        raise ConfigError(f"{file} is not TOML: {error}") from error
    for name, value in written.items():
        _require_section(name, value, file)
    return written


def _require_section(name: str, value: object, file: Path) -> None:
    # A variable that sets a key of it would hide that it is none, and all that it
    # says; and the library takes some names, as `_env_prefix`, for its own settings.
    if name not in Config.model_fields:
        raise ConfigError(f"{name}: is no known key (from {file})")
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: should be a section, [{name}] (from {file})")


def _refuse_unknown_variables() -> None:
    known = {
        _variable(section, key)
        for section, field in Config.model_fields.items()
        for key in type(field.default).model_fields
    }
    for variable in sorted(os.environ):
        name = variable.upper()  # they are read in any case of letters
        if name.startswith(PREFIX) and name not in known | _NO_KEYS:
            raise ConfigError(f"the environment variable {variable} is no known key")


def _variable(*key: object) -> str:
    return PREFIX + "__".join(str(step).upper() for step in key)


def _variables_of(*key: object) -> str:
    """Name the variables that set the key, or any key of the section."""
    name = _variable(*key)
    return ", ".join(
        variable
        for variable in sorted(os.environ)
        if variable == name or variable.startswith(f"{name}__")
    )


def _sentences(error: ValidationError, file: Path | None) -> Iterator[str]:
    for found in error.errors():
        key = ".".join(str(step) for step in found["loc"])
        source = _variables_of(*found["loc"]) or file or "the defaults"
        reason = (
            "is no known key"
            if found["type"] == "extra_forbidden"
            else found["msg"].removeprefix("Value error, ")
        )
        yield f"{key}: {reason} (from {source})"
