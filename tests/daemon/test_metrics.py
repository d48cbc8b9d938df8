"""What Prometheus is told by the whole daemon, and whether it follows the rules."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from daemon.app import RegistryDaemon
from daemon.config import Config

RULES = Path(__file__).parents[2] / "deploy/prometheus-rules.yml"
#: What labels may tell apart: a few words each, none of them an agent's.
LABELS = {"cause", "code", "files", "le", "level", "outcome", "status", "version"}
#: https://prometheus.io/docs/practices/naming/
NO_BASE_UNIT = re.compile(
    r"_(milli\w*|micro\w*|nano\w*|ms|us|ns|minutes?|hours?|days?|kb|mb|gb|kilo\w*"
    r"|mega\w*|giga\w*|percent\w*|second|byte)(_|$)"
)

#: What the format adds to a name by itself, or tells beside it.
TYPE = re.compile(r"_(gauge|counter|histogram|bucket|count|sum|created)(_|$)")


def complaints(text: str) -> list[str]:
    """Return what is wrong with the names, types and texts of some metrics."""
    helps = re.findall(r"(?m)^# HELP (\S+) (.*)$", text)
    types = re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text)
    samples = re.findall(r"(?m)^([^#\s{]\S*(?:{.*})?) \S+$", text)
    found = [
        f"{name} comes twice"
        for named in ([n for n, _ in helps], [n for n, _ in types], samples)
        for name, count in Counter(named).items()
        if count > 1
    ]
    found += [f"{name} has no help" for name, _ in types if not dict(helps).get(name)]
    for name, kind in types:
        if name.startswith(("process_", "python_")):
            continue  # the library's own
        found += _complaints_of(name, kind)
    return found


def _complaints_of(name: str, kind: str) -> Iterator[str]:
    if not re.fullmatch(r"agent_registry(_[a-z][a-z0-9]*)+", name):
        yield f"{name} is not of our namespace"
    if (kind == "counter") != name.endswith("_total"):
        yield f"{name} is a {kind}"
    if kind not in ("counter", "gauge", "histogram"):
        yield f"{name} is a {kind}"
    if NO_BASE_UNIT.search(name):
        yield f"{name} has no base unit"
    if re.search(r"_(age|uptime|duration)(_(?!seconds)|$)", name):
        yield f"{name} does not name its unit"
    if TYPE.search(name):
        yield f"{name} repeats its type"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what a daemon tells that has done nothing yet."""
    url = f"sqlite:///{tmp_path_factory.mktemp('metrics')}/registry.db"
    config = Config.model_validate({"store": {"url": url}})
    with TestClient(RegistryDaemon(config).create_asgi_app()) as client:
        return client.get("/metrics").text


def test_metrics_follow_the_rules(text: str) -> None:
    """Names, suffixes, units and types, a help for each, and nothing twice."""
    assert complaints(text) == []


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ("agent_registry_beats counter", "agent_registry_beats is a counter"),
        ("agent_registry_x_total gauge", "agent_registry_x_total is a gauge"),
        ("agent_registry_x summary", "agent_registry_x is a summary"),
        ("agents gauge", "agents is not of our namespace"),
        ("agent_registry_wait_ms gauge", "agent_registry_wait_ms has no base unit"),
        ("agent_registry_age gauge", "agent_registry_age does not name its unit"),
        ("agent_registry_a_count gauge", "agent_registry_a_count repeats its type"),
    ],
)
def test_the_rules_find_a_bad_name(bad: str, complaint: str) -> None:
    """Or they would never complain."""
    name = bad.split(maxsplit=1)[0]

    assert complaints(f"# HELP {name} Help.\n# TYPE {bad}\n{name} 1\n") == [complaint]


def test_the_rules_find_what_comes_twice_or_has_no_help() -> None:
    """Prometheus refuses the whole scrape for the one, and people miss the other."""
    found = complaints('# TYPE agent_registry_x gauge\nagent_registry_x{a="b"} 1\n' * 2)

    assert 'agent_registry_x{a="b"} comes twice' in found
    assert "agent_registry_x comes twice" in found
    assert "agent_registry_x has no help" in found


def test_metrics_can_be_read_back(text: str) -> None:
    """By the library's own parser: each family with its samples, and few labels."""
    families = list(text_string_to_metric_families(text))
    ours = [one for one in families if one.name.startswith("agent_registry_")]

    assert len(ours) == text.count("# TYPE agent_registry_")
    assert all(family.samples for family in families)
    labels = {
        label for family in ours for sample in family.samples for label in sample.labels
    }
    assert labels == LABELS


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool not installed")
def test_promtool_has_nothing_to_say(text: str) -> None:
    """Of the metrics nor of the rules."""
    checked = [
        subprocess.run(
            ["promtool", "check", *what],  # noqa: S607 - found on PATH
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        for what, given in ((["metrics"], text), (["rules", str(RULES)], ""))
    ]

    assert [(one.returncode, one.stderr) for one in checked] == [(0, "")] * 2


def test_a_daemon_counts_its_sweeps_and_rearms(
    make_config: Callable[..., Config], wait_until: Callable[..., None]
) -> None:
    """And counts on when it is started again, which re-arms the leases."""
    daemon = RegistryDaemon(make_config(leases={"sweep_interval_seconds": 0.05}))

    def told(name: str) -> float:
        text = client.get("/metrics").text
        return float(re.findall(rf"(?m)^agent_registry_{name} (.+)$", text)[0])

    sweeps = "sweep_duration_seconds_count"
    with TestClient(daemon.create_asgi_app()) as client:
        wait_until(lambda: told(sweeps) >= 2)
        before = told(sweeps)
    with TestClient(daemon.create_asgi_app()) as client:
        wait_until(lambda: told('lease_rearms_total{cause="start"}') == 1)

        assert told(sweeps) >= before
        assert told("sweep_age_seconds") < 60
        assert told("lease_time_stopped") == 0
