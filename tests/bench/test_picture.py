from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from bench.picture import latency, ratios
from bench.results import Results

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("picture", [ratios, latency])
def test_a_picture_is_well_formed(
    picture: Callable[[Results], str], results: Results
) -> None:
    """Whatever the results say, it is XML, and names the commit."""
    drawn = ET.fromstring(picture(results))  # noqa: S314 - our own

    assert drawn.tag == f"{SVG}svg"
    assert "0123456789ab <with uncommitted changes & more>" in "".join(drawn.itertext())


@pytest.mark.parametrize("picture", [ratios, latency])
def test_a_picture_of_nothing_is_well_formed(
    picture: Callable[[Results], str],
) -> None:
    """A run in which every row failed can be drawn too."""
    nothing = Results(full=False, date="", commit="", machine={}, versions={})

    assert ET.fromstring(picture(nothing)).tag == f"{SVG}svg"  # noqa: S314 - our own


def test_each_row_that_has_a_bar_is_drawn_against_it(results: Results) -> None:
    """What falls short ends before the line of the bar, what holds it does not."""
    drawn = ET.fromstring(ratios(results))  # noqa: S314 - our own
    line = float(drawn.findall(f"{SVG}line")[0].get("x1", ""))
    ends = [
        float(bar.get("x", "")) + float(bar.get("width", ""))
        for bar in drawn.iter(f"{SVG}rect")
    ]

    assert [end >= line for end in ends] == [True, False, True, True]


def test_each_latency_that_was_measured_is_a_line(results: Results) -> None:
    """Under the fixed rate, and at saturation for whoever took part."""
    drawn = ET.fromstring(latency(results))  # noqa: S314 - our own

    assert len(drawn.findall(f"{SVG}polyline")) == 3
