"""Test pictures of several panels: labels that do not overlap, and names as they are."""

from __future__ import annotations

from itertools import pairwise

from bistil_ds.benchmarking.harness.panels import Panels, Spot, spread
from bistil_ds.benchmarking.harness.plots import as_svg


def test_labels_beside_a_panel_do_not_overlap() -> None:
    places = spread([0.99, 0.5, 0.98, 0.51, 0.0], 0.1)
    ordered = sorted(places)
    assert all(above - below >= 0.1 - 1e-9 for below, above in pairwise(ordered))
    assert max(places) <= 1
    assert places[2] < places[0]
    assert places[1] < places[3]


def test_a_picture_of_panels_shows_names_as_they_are() -> None:
    spot = {"a $x$ <b>": Spot((1, 1, 1), (100, 99, 101)), "b": Spot((2, 1.9, 2.2), (90, 90, 91))}
    svg = as_svg(Panels("T", "x", "y", {"all": spot, "one": spot, "two": {}}))
    assert "a $x$ &lt;b&gt;" in svg
    assert svg.count(">one<") == 1
