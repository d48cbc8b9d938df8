"""Nothing happens at import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "client"
PACKAGES = {
    "api": ROOT,
    "daemon": ROOT,
    "store": ROOT,
    "agent_registry_client": CLIENT,
}
MODULES = sorted(
    ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    for package, root in PACKAGES.items()
    for path in (root / package).rglob("*.py")
)

#: Imports each module by itself, in a process that has imported nothing of ours. They
#: are forked behind the import of all libraries, which takes a second each time.
IMPORT_EACH = """
import importlib, json, os, sys, threading

packages, modules = json.loads(sys.argv[1])
sys.path[:0] = set(packages.values())
for module in modules:
    importlib.import_module(module)
for name in [*sys.modules]:
    if name.partition(".")[0] in packages:
        del sys.modules[name]
for module in modules:
    if os.fork() == 0:
        before = threading.active_count()
        importlib.import_module(module)
        assert threading.active_count() == before
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.wait()[1])
    print(json.dumps([module, status, os.listdir()]), flush=True)
"""


@pytest.fixture(scope="module")
def imported(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[int, list[str]]]:
    """Import every module, without environment or config; return what came of each."""
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-c"),
            *(
                IMPORT_EACH,
                json.dumps([{k: str(v) for k, v in PACKAGES.items()}, MODULES]),
            ),
        ],
        cwd=tmp_path_factory.mktemp("empty"),
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    told = map(json.loads, done.stdout.splitlines())
    return {module: (status, files) for module, status, files in told}


@pytest.mark.parametrize("module", MODULES)
def test_importing_a_module_does_nothing(
    imported: dict[str, tuple[int, list[str]]], module: str
) -> None:
    """No file, thread or output comes of an import, whatever was imported before."""
    assert imported[module] == (0, [])
