from pathlib import Path

from bench.report import lines, number
from bench.results import Results
from bench.targets import TARGETS


def test_the_table_has_every_row_with_its_verdict(results: Results) -> None:
    """Each target is one line, measured or not."""
    table = {line[:64].strip(): line for line in lines(results)}

    assert {target.what for target in TARGETS} <= set(table)
    assert table["one committed heartbeat vs bare"].split()[5:] == [
        *("0.65", "x", "0.5", "-", "0.7", "0.35", "0.6", "reaches", "the", "goal")
    ]
    assert table["the same vs naive"].endswith("FALLS SHORT")
    assert table["the same vs Consul TTL check pass"].endswith("no consul on PATH")


def test_the_report_says_what_its_figures_rest_on(results: Results) -> None:
    """Commit, machine, failures, and where the generator was the limit."""
    report = "\n".join(lines(results))

    assert "commit 0123456789ab" in report
    assert "cpu a processor, cores 2" in report
    assert "FAILED row: answers by status: {404: 1}" in report
    assert "was the limit for: bare (heartbeats, 64 connections).\n" in report


def test_saved_results_tell_the_same(results: Results, tmp_path: Path) -> None:
    """The report can be had again from the file."""
    path = tmp_path / "new" / "latest.json"

    results.save(path)

    assert list(lines(Results.load(path))) == list(lines(results))


def test_results_of_a_run_are_saved_as_they_were_collected(tmp_path: Path) -> None:
    """Rounds are kept by what was measured and of whom, with four digits."""
    results = Results(full=True)
    results.rounds["heartbeats"]["ours"].append({"rate": 1234.5678})
    path = tmp_path / "latest.json"

    results.save(path)

    loaded = Results.load(path)
    assert loaded.rounds == {"heartbeats": {"ours": [{"rate": 1235}]}}
    assert (loaded.commit, loaded.full) == (results.commit, True)
    assert set(loaded.machine) == {"cpu", "cores", "kernel", "filesystem"}
    assert {"python", "sqlite", "uvicorn"} <= set(loaded.versions)


def test_figures_show_three_digits_that_count() -> None:
    """Noise allows no more."""
    assert [number(value) for value in (0.01234, 1.999, 45.67, 123_456.7, None)] == [
        *("0.0123", "2", "45.7", "123,457", "")
    ]
