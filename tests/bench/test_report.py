import subprocess
from pathlib import Path

from bench.report import lines, number, with_table
from bench.results import Results, commit_of
from bench.targets import TARGETS


def test_the_table_has_every_row_with_its_verdict(results: Results) -> None:
    """Each target is one line, measured or not."""
    table = {line[:64].strip(): line for line in lines(results)}

    assert {target.what for target in TARGETS} <= set(table)
    assert table["one committed heartbeat vs bare"].split()[5:] == [
        *("0.65", "x", "0.5", "-", "0.7", "0.35", "0.6", "reaches", "the", "goal")
    ]
    assert table["one committed heartbeat vs naive"].endswith("FALLS SHORT")
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


def test_a_document_has_the_table_between_its_markers(results: Results) -> None:
    """What stood there is gone, the rest stays, and so does the other run's table."""
    document = (
        "# P\n<!-- bench -->\nold\n<!-- /bench -->\nmiddle\n"
        "<!-- bench-full -->\nkept\n<!-- /bench-full -->\nend\n"
    )

    written = with_table(document, results)

    assert "old\n" not in written
    assert written.startswith("# P\n<!-- bench -->\n```text\nwhat ")
    assert written.endswith(
        "```\n<!-- /bench -->\nmiddle\n"
        "<!-- bench-full -->\nkept\n<!-- /bench-full -->\nend\n"
    )
    assert with_table(written, results) == written
    assert with_table("no markers", results) == "no markers"


def test_a_commit_says_whether_what_is_measured_was_changed(tmp_path: Path) -> None:
    """Results that an earlier run wrote are no change."""

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=N", "-c", "user.email=n@example.org"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True)  # noqa: S607

    for name in ("store/a.py", "bench/b.py", "bench/results/c.json", "docs/d.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message=all")
    told = []
    for name in ("docs/d.md", "bench/results/c.json", "bench/b.py"):
        (tmp_path / name).write_text("after")
        told.append(commit_of(tmp_path))

    assert told == [told[0], told[0], f"{told[0]} with uncommitted changes"]
    assert len(told[0]) == 12


def test_figures_show_three_digits_that_count() -> None:
    """Noise allows no more."""
    assert [number(value) for value in (0.01234, 1.999, 45.67, 123_456.7, None)] == [
        *("0.0123", "2", "45.7", "123,457", "")
    ]
