"""A systemd of its own, in namespaces that are private to it."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SYSTEMD = Path("/lib/systemd/systemd")
UNITS = Path("/lib/systemd/system")
#: What any system has, and the units need.
ANY = ("sysinit", "basic", "sockets", "network-online", "multi-user", "shutdown")
JOURNAL = ("systemd-journald.service", "systemd-journald.socket")
TOOLS = ("setpriv", "unshare", "nsenter", "pivot_root", "systemctl", "journalctl")
PYTHON = "python{}.{}".format(*sys.version_info)

MACHINE_ID = "5ea1ed0000000000000000000000cafe\n"
#: Ends what follows with the process of the tests, however that ends.
TIED = ("setpriv", "--pdeathsig", "KILL")
#: Enters the cgroup that is its first argument, and runs the others.
IN_CGROUP = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
NAMESPACES = ("mount", "pid", "net", "uts", "ipc", "cgroup")


def _missing() -> str:
    """Return what is missing here to run a systemd of our own; empty: nothing."""
    if os.geteuid() != 0:
        return "it takes root"
    for path in (SYSTEMD, *(UNITS / name for name in JOURNAL)):
        if not path.exists():
            return f"{path} does not exist"
    for tool in TOOLS:
        if shutil.which(tool) is None:
            return f"there is no {tool}"
    cgroups = _cgroups()
    writable = cgroups and os.access(cgroups, os.W_OK)
    return "" if writable else "no cgroup2 is mounted to be written"


def _cgroups() -> Path | None:
    """Return where the hierarchy of cgroup2 is mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(target)
    return None


class Machine:
    """A running systemd, as seen by whoever administers it."""

    def __init__(self, pid: int) -> None:
        self._root = Path(f"/proc/{pid}/root")
        self._inside = ("nsenter", f"--target={pid}", "--all")
        #: What to begin a command with that is to run in its network.
        self.on_network = ("nsenter", f"--net=/proc/{pid}/ns/net")

    def is_up(self) -> bool:
        """Tell whether all was started that is to be."""
        # Until it has a root of its own, systemctl would speak to this machine's.
        told = self._root / "etc/machine-id"
        if not told.exists() or told.read_text() != MACHINE_ID:
            return False
        asked = [*self._inside, "systemctl", "is-system-running"]
        done = subprocess.run(asked, check=False, capture_output=True, text=True)
        return done.stdout.strip() in {"running", "degraded"}

    def run(self, *command: str) -> str:
        """Return what a command says that must succeed."""
        done = subprocess.run(
            [*self._inside, *command],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}{self._last_words()}"
        return done.stdout

    def _last_words(self) -> str:
        words = [*self._inside, "journalctl", "--no-pager", "--lines=40"]
        return subprocess.run(words, check=False, capture_output=True, text=True).stdout

    def systemctl(self, *arguments: str) -> str:
        """Return what systemctl says; it must succeed."""
        return self.run("systemctl", *arguments)

    def shown(self, unit: str) -> dict[str, str]:
        """Return the properties of a unit."""
        lines = self.systemctl("show", unit).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    @contextmanager
    def edited(self, unit: str, text: str) -> Iterator[None]:
        """Change a unit as `systemctl edit` does, until it is stopped again."""
        folder = f"/etc/systemd/system/{unit}.d"
        script = 'mkdir -p "$0" && printf %s "$1" > "$0/override.conf"'
        self.run("/bin/sh", "-c", script, folder, text)
        self.systemctl("daemon-reload")
        try:
            yield
        finally:
            self.run("rm", "-r", folder)
            self.systemctl("daemon-reload")
            self.systemctl("stop", unit)

    def journal(self) -> str:
        """Return what the daemons have said so far."""
        return self.run("journalctl", "--unit=agent-registry", "--output=cat")

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the decoded answer of a call to the registry."""
        script = Path(__file__).with_name("call.py")
        told = subprocess.run(
            [*self.on_network, sys.executable, "-S", script, method, path],
            input=json.dumps(body) if body else "",
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return json.loads(told.stdout)


def _lay_out(stage: Path) -> None:
    """Lay out what is to lie over the files of this machine: the registry, installed.

    As docs/operations.md has it, with an environment that finds the packages where
    they are seen.
    """
    home = stage / "opt/agent-registry"
    packages = home / f"lib/{PYTHON}/site-packages"
    for package in ("api", "daemon", "store"):
        shutil.copytree(ROOT / package, packages / package)
    (packages / "installed.pth").write_text("/opt/packages\n")
    (home / "pyvenv.cfg").write_text("home = /opt/python/bin\n")
    (home / "bin").mkdir()
    (home / "bin/python").symlink_to(f"/opt/python/bin/{PYTHON}")
    installed = Path(sys.executable).with_name("agent-registryd").read_text()
    command = home / "bin/agent-registryd"
    command.write_text(
        "#!/opt/agent-registry/bin/python\n" + installed.split("\n", 1)[1]
    )
    command.chmod(0o755)
    etc = stage / "etc/agent-registry"
    etc.mkdir(parents=True)
    shutil.copy(ROOT / "config.toml", etc)
    (stage / "etc/machine-id").write_text(MACHINE_ID)
    ours, any_ = stage / "units/ours", stage / "units/any"
    for folder in (ours, any_):
        folder.mkdir(parents=True)
    for unit in (ROOT / "deploy").glob("agent-registry.*"):
        shutil.copy(unit, ours)
    for name in (*(f"{target}.target" for target in ANY), *JOURNAL):
        shutil.copy(UNITS / name, any_)
    wanted = any_ / "sysinit.target.wants"
    wanted.mkdir()
    for name in JOURNAL:
        (wanted / name).symlink_to(UNITS / name)


@contextmanager
def _cgroup() -> Iterator[Path]:
    """Make a cgroup, the one thing that cannot be private, and remove it with all."""
    cgroups = _cgroups()
    assert cgroups is not None
    made = cgroups / f"agent-registry-test-{os.getpid()}"
    made.mkdir()
    try:
        yield made
    finally:
        give_up = time.monotonic() + 5
        while made.exists() and time.monotonic() < give_up:
            for folder, _, _ in os.walk(made, topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError:
                    time.sleep(0.05)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Return a machine with the units of deploy/ installed, enabled and started."""
    if missing := _missing():
        pytest.skip(f"no systemd of our own here: {missing}")
    folder = tmp_path_factory.mktemp("machine")
    stage, private, log = folder / "stage", folder / "private", folder / "log"
    _lay_out(stage)
    private.mkdir()
    paths = (stage, sys.base_prefix, sysconfig.get_path("purelib"), private)
    with _cgroup() as cgroup, log.open("w") as console:
        unshare = ["unshare", "--fork", "--kill-child"]
        unshare += [f"--{namespace}" for namespace in NAMESPACES]
        boot = ["/bin/sh", Path(__file__).with_name("boot.sh"), *paths]
        booted = subprocess.Popen(
            [*TIED, "/bin/sh", "-c", IN_CGROUP, cgroup, *unshare, *boot],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        )
        try:
            yield _booted(booted, log)
        finally:
            booted.kill()
            booted.wait()


def _booted(unshared: subprocess.Popen[bytes], log: Path) -> Machine:
    children = Path(f"/proc/{unshared.pid}/task/{unshared.pid}/children")
    give_up = time.monotonic() + 20
    while True:
        if unshared.poll() is not None:
            pytest.skip(f"no systemd of our own here: {log.read_text()}")
        for pid in children.read_text().split():
            machine = Machine(int(pid))
            if machine.is_up():
                machine.systemctl("enable", "--now", "agent-registry")
                return machine
        if time.monotonic() > give_up:
            pytest.skip("no systemd of our own here: it was not up within 20 s")
        time.sleep(0.1)
