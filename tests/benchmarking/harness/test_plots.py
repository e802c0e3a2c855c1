"""Test the pictures: names in them are text, and numbers that cannot be drawn are found before."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

import pytest
from made_up_results import EVIL, Page

from bistil_ds.benchmarking.harness.plots import Bars, Lines, Points, as_svg, check_numbers
from bistil_ds.console.untrusted import one_line


def test_pictures_are_text_that_does_not_change_and_name_what_they_show() -> None:
    bars = Bars("B", "x", {"one": {"m1": (0.5, 0.4, 0.6)}, "two": {"m1": (0.7, 0.7, 0.7), "m2": (1.2, 1.0, 1.3)}})
    points = Points("P", "x", "y", {"m1": (1.0, 2.0), "m2": (2.0, 3.0)})
    lines = Lines("L", "x", "y", {"m1": [(32, 1.0), (128, 3.0)], "m2": [(128, 2.0), (32, 1.0)]})
    for plot in (bars, points, lines):
        picture = as_svg(plot)
        assert picture.startswith("<svg")
        assert ">m1<" in picture
        assert ">m2<" in picture
        assert picture == as_svg(plot)


@pytest.mark.parametrize(
    "plot",
    [
        Bars(EVIL, EVIL, {EVIL: {EVIL: (0.5, 0.4, 0.6)}, "b": {EVIL: (0.5, 0.4, 0.6)}}),
        Points(EVIL, EVIL, EVIL, {EVIL: (1.0, 2.0), "b": (3.0, 1.0)}),
        Lines(EVIL, EVIL, EVIL, {EVIL: [(32, 1.0), (128, 3.0)], "b": [(32, 1.0), (128, 3.0)]}),
    ],
    ids=lambda plot: type(plot).__name__,
)
def test_names_in_a_picture_are_text(plot: Any) -> None:
    picture = as_svg(plot)
    assert "script" not in Page(picture).tags
    assert picture.isprintable() or all(line.isprintable() for line in picture.split("\n"))
    root = ElementTree.fromstring(picture)
    shown = [str(each.text).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert shown.count(one_line(EVIL)) >= 3


@pytest.mark.parametrize(
    "plot",
    [
        *(Bars("t", "x", {"a": {"b": bar}}) for bar in ((1.0, 2.0, 3.0), (1e300, 1e300, 1e300), (math.nan,) * 3)),
        *(Bars("t", "x", {"a": {"b": bar}}) for bar in (("1", "1", "1"), (1.0, 1.0), (None, None, None))),
        *(Points("t", "x", "y", {"a": point}) for point in ((math.inf, 1.0), ("1", 2.0), (1.0,))),
        *(Lines("t", "x", "y", {"a": [point]}) for point in ((0, 1.0), (-1, 1.0), (1, 1e200), (1, None))),
    ],
)
def test_numbers_that_cannot_be_drawn_are_found_before(plot: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        check_numbers(plot)
