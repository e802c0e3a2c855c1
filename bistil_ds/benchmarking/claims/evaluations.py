"""Show an `evaluation.json` of `evaluate.py` as a table of scores, and as a plot of quality against size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bistil_ds.benchmarking.harness.plots import Plot, Points
from bistil_ds.console.grid import Grid


def quality_grid(content: Mapping[str, Any]) -> Grid:
    """Return a table with a line for each model: parameters, main metric in each language with its interval."""
    metric, languages = content["metric"], list(content["test_sets"])
    grid = Grid(f"Quality, {content['task']} ({metric})", ["model", "M parameters", *languages, "average"])
    for name, model in content["models"].items():
        cells = [f"{model['parameters'] / 1e6:.1f}"]
        cells += [_score(model["languages"].get(language, {}), metric) for language in languages]
        grid.rows.append([name, *cells, _score(model["macro_average"], metric)])
    grid.note = "in brackets: 95 % interval over examples"
    return grid


def quality_plots(content: Mapping[str, Any]) -> list[Plot]:
    """Return the plot of the average score over languages against size, both relative to the reference, at (1, 1).

    Fewer than three models get no plot, because the table shows them well enough. Speed is not drawn: an evaluation
    may run beside other work.
    """
    models, metric = content["models"], content["metric"]
    reference = models.get(content["reference"]) or next(iter(models.values()), None)
    best = _value(reference, metric) if reference else None
    points = {}
    for name, model in models.items():
        score = _value(model, metric)
        if score is not None and best and reference and model["parameters"] and reference["parameters"]:
            points[name] = (model["parameters"] / reference["parameters"], score / best)
    if len(points) < 3:
        return []
    title = f"{content['task']}, average of {', '.join(content['test_sets'])}: quality against size"
    return [Points(title, "parameters over the reference's", f"{metric} over the reference's", points)]


def _value(model: Mapping[str, Any], metric: str) -> float | None:
    """Return a model's average score over languages; None where it has no score."""
    found = model["macro_average"].get("score", {}).get(metric)
    return float(found["value"]) if found else None


def _score(result: Mapping[str, Any], metric: str) -> str:
    found = result.get("score", {}).get(metric)
    if not found:
        return ""
    interval = f" ({100 * found['low']:.1f} to {100 * found['high']:.1f})" if found.get("low") is not None else ""
    return f"{100 * found['value']:.1f}{interval}"
