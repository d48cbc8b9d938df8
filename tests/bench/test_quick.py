"""The ratios that `make check` guards."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.quick import GUARDED, holds
from bench.results import Results
from bench.rows.heartbeats import ONE_BY_ONE, compare_with_references
from bench.run import Run

#: What a registry that is well shows, at twice or half of each bar.
GOOD = {
    target.key: target.bar * (0.5 if target.lower_is_better else 2)
    for target in GUARDED
    if target.bar
}


def test_a_registry_that_is_well_passes() -> None:
    """Every ratio holds."""
    measured = {key: [figure] for key, figure in GOOD.items()}

    assert len(GOOD) == len(GUARDED)
    assert holds(Results(full=False, measures=measured))


@pytest.mark.parametrize("key", GOOD)
def test_one_ratio_that_is_turned_round_fails(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever it is; and the output says so."""
    measured = {one: [figure] for one, figure in GOOD.items()}
    measured[key] = [1 / GOOD[key]] if GOOD[key] > 2 else [100.0]

    assert not holds(Results(full=False, measures=measured))
    assert capsys.readouterr().out.count("FALLS SHORT") == 1


def test_ours_is_measured_against_the_references(tmp_path: Path) -> None:
    """Rates and CPU as ours over theirs, never the other way."""
    results = Results(full=False)
    for name, rate, cpu in (
        ("ours", 800, 100),
        ("naive", 100, 900),
        ("bare", 1600, 50),
    ):
        seen = {"rate": rate, "cpu_us_per_request": cpu}
        results.rounds[ONE_BY_ONE][name].append(seen)
    with ThreadPoolExecutor() as executor:
        run = Run(results, tmp_path, generator=executor, server_side=executor, rounds=1)

        compare_with_references(run)

    assert results.measures == {
        "beat_bare": [0.5],
        "cpu_bare": [2.0],
        "beat_naive": [8.0],
    }
