"""Draw results as SVG: bars of ratios with their intervals, named points, lines, and panels of spots."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bistil_ds.benchmarking.harness.panels import COLOURS, Panels, draw_panels
from bistil_ds.console.untrusted import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST = 1e100  # only numbers of a smaller magnitude are drawn


@dataclass
class Bars:
    """Horizontal bars with whiskers: series → name → (value, low end, high end); `label` names the x axis."""

    title: str
    label: str
    series: dict[str, dict[str, tuple[float, float, float]]] = field(default_factory=dict)


@dataclass
class Points:
    """Named points: name → (x, y)."""

    title: str
    x_label: str
    y_label: str
    points: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass
class Lines:
    """Named lines: name → points (x, y). The x axis is logarithmic, the y axis begins at 0."""

    title: str
    x_label: str
    y_label: str
    lines: dict[str, Sequence[tuple[float, float]]] = field(default_factory=dict)


Plot = Bars | Points | Lines | Panels


def as_svg(plot: Plot) -> str:
    """Return the plot as an `<svg>` element, for a page or a file of its own; letters are text, not outlines.

    Names are shown as they are: a `$` does not start a formula, and control characters are shown as escapes.
    """
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": one_line(plot.title), "text.parse_math": False}
    ):
        figure = _figure(_height(plot))
        if isinstance(plot, Panels):
            draw_panels(figure, plot)
        else:
            _one_pair_of_axes(figure, plot)
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _one_pair_of_axes(figure: Figure, plot: Bars | Points | Lines) -> None:
    axes = figure.add_subplot()
    axes.set_title(one_line(plot.title), loc="left", fontsize=11)
    if isinstance(plot, Bars):
        _bars(axes, plot)
    elif isinstance(plot, Points):
        _points(axes, plot)
    else:
        _lines(axes, plot)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    return Figure(figsize=(6, height), layout="constrained")


def _height(plot: Plot) -> float:
    if isinstance(plot, Bars):
        return 1.3 + 0.17 * sum(1 + len(values) for values in plot.series.values())
    if isinstance(plot, Panels):
        return 4.2 + 1.7 * plot.rows
    return 3.8 + (0.1 * len(plot.lines) if isinstance(plot, Lines) else 0)  # room for the legend


def _bars(axes, plot: Bars) -> None:  # type: ignore[no-untyped-def]
    names = list(dict.fromkeys(name for values in plot.series.values() for name in values))
    thickness = 0.8 / max(1, len(plot.series))
    for i, (label, values) in enumerate(plot.series.items()):
        y = [names.index(name) + (i - (len(plot.series) - 1) / 2) * thickness for name in values]
        middle = [value for value, _, _ in values.values()]
        errors = [[v - low for v, low, _ in values.values()], [high - v for v, _, high in values.values()]]
        style = {"color": COLOURS[i % len(COLOURS)], "error_kw": {"elinewidth": 1, "ecolor": "#333"}}
        bars = axes.barh(y, middle, thickness, xerr=errors, label=_label(label), **style)
        axes.bar_label(bars, [f"{value:.2f}" for value in middle], padding=4, fontsize=7)
    axes.axvline(1, color="#777", linewidth=0.8)
    axes.set_yticks(range(len(names)), map(one_line, names), fontsize=8)
    axes.margins(x=0.12)
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first name on top
    axes.set_xlabel(one_line(plot.label))
    _legend(axes, len(plot.series))


def _points(axes, plot: Points) -> None:  # type: ignore[no-untyped-def]
    for i, (name, (x, y)) in enumerate(plot.points.items()):
        axes.plot(x, y, marker="o", color=COLOURS[i % len(COLOURS)])
        axes.annotate(one_line(name), (x, y), xytext=(5, 5), textcoords="offset points", fontsize=8)
    axes.set(xlabel=one_line(plot.x_label), ylabel=one_line(plot.y_label))
    axes.margins(0.2)


def _lines(axes, plot: Lines) -> None:  # type: ignore[no-untyped-def]
    for i, (name, line) in enumerate(plot.lines.items()):
        xs, ys = zip(*sorted(line))
        style = {"color": COLOURS[i % len(COLOURS)], "linestyle": ("-", "--", ":")[i // 6 % 3]}
        axes.plot(xs, ys, marker=".", label=_label(name), **style)
    axes.set(xlabel=one_line(plot.x_label), ylabel=one_line(plot.y_label), xscale="log", ylim=(0, None))
    ticks = sorted({x for line in plot.lines.values() for x, _ in line})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    _legend(axes, len(plot.lines))


def _label(name: str) -> str:
    """Return a name for the legend. Matplotlib hides names that begin with `_`, so these get a space before it."""
    return f" {one_line(name)}" if name.startswith("_") else one_line(name)


def check_numbers(plot: Plot) -> None:
    """Raise TypeError or ValueError unless all values of a plot are numbers that can be drawn."""
    if isinstance(plot, Bars):
        bars = [bar for named in plot.series.values() for bar in named.values()]
        fit = all(-LARGEST < low <= value <= high < LARGEST for value, low, high in bars)
    elif isinstance(plot, Points):
        fit = all(abs(x) < LARGEST and abs(y) < LARGEST for x, y in plot.points.values())
    elif isinstance(plot, Panels):
        ends = [each for spots in plot.panels.values() for spot in spots.values() for each in (spot.x, spot.y)]
        fit = all(-LARGEST < low <= value <= high < LARGEST for value, low, high in ends)
    else:
        fit = all(0 < x < LARGEST and abs(y) < LARGEST for line in plot.lines.values() for x, y in line)
    if not fit:
        raise ValueError(f"{plot.title}: has numbers that cannot be drawn")


def _legend(axes, entries: int) -> None:  # type: ignore[no-untyped-def]
    if entries > 1:
        axes.figure.legend(fontsize=8, frameon=False, loc="outside lower left", ncols=2)


def relative_bars(title: str, label: str, found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Bars:
    """Return bars of ratios; `found` is series → name → a ratio's `median`, `low` and `high`.

    A ratio without an interval, where `low` and `high` are None, gets a bar without a whisker.
    """
    series = {name: {each: _bar(one) for each, one in ratios.items()} for name, ratios in found.items()}
    return Bars(title, label, series)


def _bar(ratio: Mapping[str, Any]) -> tuple[float, float, float]:
    middle = ratio["median"]
    return (middle, middle, middle) if ratio["low"] is None else (middle, ratio["low"], ratio["high"])
