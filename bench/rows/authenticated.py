"""Heartbeats of callers who must be known: ours and naive check the same token."""

import hashlib
import secrets
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench import fleet, servers
from bench.load import Load
from bench.processes import NotReady, Process
from bench.run import NotOffered, Run, Subject

_AGENTS = 10_000
_SECONDS = 2.5
_UNAUTHENTICATED = 401


def with_a_token(run: Run) -> None:
    """Compare heartbeats that carry a token."""
    _compare(run, "beat_token", "heartbeats, with a token", tls=False)


def over_tls(run: Run) -> None:
    """Compare heartbeats that carry a token, on connections that are encrypted."""
    _compare(run, "beat_tls", "heartbeats, with a token over TLS", tls=True)


class Secrets(NamedTuple):
    """A token of all agents, and a certificate if there is one."""

    token: str
    certificate: Path | None
    key: Path | None

    @property
    def digest(self) -> str:
        """What servers know of the token."""
        return hashlib.sha256(self.token.encode()).hexdigest()

    def load(
        self, server: Process, *, agents: int = _AGENTS, known: bool = True
    ) -> Load:
        """Return heartbeats with the token, or without."""
        bearer = f"authorization: Bearer {self.token}\r\n" if known else ""
        beats = fleet.heartbeats(fleet.ids(agents), headers=bearer)
        return Load(server.address, beats, tls=self.certificate is not None)


def _compare(run: Run, key: str, what: str, *, tls: bool) -> None:
    with ExitStack() as stack:
        folder = run.new_folder(stack)
        try:
            secret = make_secrets(folder, tls=tls)
            started = {
                "ours": _start_ours(run, stack, secret),
                "naive": start_naive(run, stack, secret),
            }
            for server in started.values():
                require_refusal(run, secret.load(server, known=False))
        except (NotOffered, NotReady) as reason:
            run.results.absent[key] = str(reason)
            return
        subjects = {
            name: Subject(secret.load(server), server)
            for name, server in started.items()
        }
        run.alternate(what, subjects, _SECONDS)
    run.compare(key, what, "ours", "naive")


def make_secrets(folder: Path, *, tls: bool) -> Secrets:
    """Make a token, and with TLS a certificate that its own key has signed."""
    token = f"areg_{secrets.token_urlsafe(32)}"
    if not tls:
        return Secrets(token, None, None)
    made = Secrets(token, folder / "certificate.pem", folder / "key.pem")
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
        *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"),
        *("-out", str(made.certificate), "-keyout", str(made.key)),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotOffered(f"no certificate was made: {error}") from error
    return made


def _start_ours(run: Run, stack: ExitStack, secret: Secrets) -> Process:
    folder = run.new_folder(stack)
    run.fleets.ours(_AGENTS, folder)
    credentials = folder / "credentials.toml"
    credentials.touch(mode=0o600)
    credentials.write_text(
        "[[tokens]]\n"
        f'id = "bench"\nhash = "sha256:{secret.digest}"\nprincipal = "bench"\n'
        'roles = ["agent"]\nagents = ["agent-*"]\n'
        "created_at = 2026-01-01T00:00:00Z\n"
    )
    keys: dict[str, object] = {"AUTH__MODE": "tokens", "AUTH__FILE": credentials}
    if secret.certificate:
        keys |= {"TLS__CERTIFICATE": secret.certificate, "TLS__KEY": secret.key}
    return stack.enter_context(servers.serve_ours(folder, **keys))


def start_naive(
    run: Run, stack: ExitStack, secret: Secrets, agents: int = _AGENTS
) -> Process:
    """Start the naive registry, which asks for the token."""
    folder = run.new_folder(stack)
    run.fleets.naive(agents, folder)
    options = [f"--token={secret.digest}"]
    if secret.certificate:
        options += [f"--certificate={secret.certificate}", f"--key={secret.key}"]
    return stack.enter_context(servers.serve_naive(folder, options=options))


def require_refusal(run: Run, load: Load) -> None:
    """See that who has no token is refused: else nothing would be compared."""
    try:
        statuses = run.probe(load)
    except OSError as error:
        raise NotOffered(f"no TLS is spoken: {error}") from error
    if statuses != {_UNAUTHENTICATED: 1}:
        raise NotOffered(f"who has no token was answered {next(iter(statuses))}")
