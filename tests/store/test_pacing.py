"""How a sweep and a re-arm cut their work."""

import pytest

from store.pacing import ChunkSize


def sizes(learnt: float, rows: int = 100_000) -> list[int]:
    """Return the lengths of the chunks, when a row takes `learnt` seconds."""
    size = ChunkSize()
    cut = []
    for chunk in size.cut(list(range(rows))):
        cut.append(len(chunk))
        size.learn(len(chunk), len(chunk) * learnt)
    return cut


@pytest.mark.parametrize(("seconds_a_row", "rows"), [(1e-5, 200), (5e-5, 40)])
def test_chunks_grow_or_shrink_to_two_milliseconds(
    seconds_a_row: float, rows: int
) -> None:
    """Whatever the disk makes of a row."""
    assert sizes(seconds_a_row)[5] == pytest.approx(rows, abs=1)


def test_one_slow_chunk_only_halves_the_next() -> None:
    """It may have waited for the disk."""
    size = ChunkSize()
    chunks = size.cut(list(range(1_000)))
    first = len(next(chunks))
    size.learn(first, 10.0)

    assert len(next(chunks)) == first // 2


@pytest.mark.parametrize(("seconds_a_row", "rows"), [(1.0, 20), (1e-9, 5_000)])
def test_chunks_have_bounds(seconds_a_row: float, rows: int) -> None:
    """Neither a row at a time nor all at once."""
    assert sizes(seconds_a_row)[-2] == rows


def test_every_row_is_in_one_chunk() -> None:
    """In their order."""
    rows = list(range(12_345))
    size = ChunkSize()

    cut = []
    for chunk in size.cut(rows):
        cut += chunk
        size.learn(len(chunk), 0.001)

    assert cut == rows
