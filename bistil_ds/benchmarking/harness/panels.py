"""Draw spots with intervals on both axes: one large panel that leads, and a small panel for each part below it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from bistil_ds.console.untrusted import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # colour-blind readers can tell them apart
MARKERS = ("o", "s", "^", "D")  # the next one for each round of colours
COLUMNS = 3  # small panels in a row
GAP = 0.075  # least distance of labels, as a share of the large panel's height

Ends = tuple[float, float, float]  # value, low end, high end


@dataclass(frozen=True)
class Spot:
    """A point with its intervals."""

    x: Ends
    y: Ends


@dataclass
class Panels:
    """Panels with one pair of axes: title → name → spot; the first one leads, the others are small."""

    title: str
    x_label: str
    y_label: str
    panels: dict[str, dict[str, Spot]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Return the number of rows of small panels."""
        return -(-(len(self.panels) - 1) // COLUMNS)

    def names(self) -> list[str]:
        """Return the names of all spots, each once."""
        return list(dict.fromkeys(name for spots in self.panels.values() for name in spots))


def draw_panels(figure: Figure, plot: Panels) -> None:
    """Draw the panels; a name has the same colour and marker in all of them."""
    figure.suptitle(one_line(plot.title), x=0.01, ha="left", fontsize=11)
    grid = figure.add_gridspec(1 + plot.rows, COLUMNS, height_ratios=[2.2, *[1] * plot.rows])
    styles = {
        name: (COLOURS[i % len(COLOURS)], MARKERS[i // len(COLOURS) % len(MARKERS)])
        for i, name in enumerate(plot.names())
    }
    for number, (title, spots) in enumerate(plot.panels.items()):
        row, column = divmod(number - 1, COLUMNS)
        axes = figure.add_subplot(grid[0, :] if number == 0 else grid[1 + row, column])
        axes.set_title(one_line(title), loc="left", fontsize=9)
        axes.axhline(100, color="#777", linewidth=0.8)
        for name, spot in spots.items():
            (x, x_low, x_high), (y, y_low, y_high) = spot.x, spot.y
            colour, marker = styles[name]
            x_error, y_error = [[x - x_low], [x_high - x]], [[y - y_low], [y_high - y]]
            size = 4 if number else 6
            axes.errorbar(x, y, y_error, x_error, color=colour, marker=marker, markersize=size, elinewidth=0.9)
        axes.margins(0.12)
        axes.tick_params(labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        if number == 0:
            axes.set(xlabel=one_line(plot.x_label), ylabel=one_line(plot.y_label))
            _label(axes, spots, styles)


def _label(axes: Any, spots: dict[str, Spot], styles: dict[str, tuple[str, str]]) -> None:
    """Write the names beside the panel, in the order of their spots' heights, each with a line to its spot."""
    low, high = axes.get_ylim()
    places = spread([(spot.y[0] - low) / (high - low) for spot in spots.values()], GAP)
    for (name, spot), place in zip(spots.items(), places):
        axes.annotate(
            one_line(name),
            (spot.x[0], spot.y[0]),
            xytext=(1.02, place),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            color=styles[name][0],
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "#999", "shrinkB": 4},
        )


def spread(places: list[float], gap: float) -> list[float]:
    """Return heights in the same order, at least `gap` apart: from the lowest up, moved up only as far as needed.

    If the highest then lies above 1, all that stand too high are moved down again.
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    found = list(places)
    for below, above in pairwise(order):
        found[above] = max(found[above], found[below] + gap)
    limit = 1.0
    for each in reversed(order):
        found[each] = min(found[each], limit)
        limit = found[each] - gap
    return found
