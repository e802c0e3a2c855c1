"""Show evaluations as tables of scores by language, and as plots of quality against size and speed.

Each row of the record holds what `evaluate.py` writes for one task and one target language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bistil_ds.benchmarking.harness.benchmark import Content
from bistil_ds.benchmarking.harness.plots import Plot, Points
from bistil_ds.console.grid import Grid

LABELS = {  # for a reader who does not know the flags
    "k2": "student, every 2nd layer",
    "k3": "student, every 3rd layer",
    "dense": "student, tuned densely",
    "unphased": "student without phase 1",
    "scratch": "bilingual model from scratch",
}


def transfer_grids(content: Content) -> list[Grid]:
    """Return a table for each row of the record: a task and a target language."""
    return [quality_grid(row) for row in content["rows"]]


def transfer_plots(content: Content) -> list[Plot]:
    """Return the plots of all rows of the record; a row gets up to two, and needs more than two models for them."""
    return [plot for row in content["rows"] for plot in quality_plots(row)]


def quality_grid(content: Mapping[str, Any]) -> Grid:
    """Return a table with a line for each model: parameters, speed, main metric in each language with its interval."""
    metric, languages = content["metric"], list(content["test_sets"])
    grid = Grid(
        f"Quality, {content['task']} ({metric})", ["model", "M parameters", "examples/s", *languages, "average"]
    )
    for name, model in content["models"].items():
        cells = [f"{model['parameters'] / 1e6:.1f}", f"{model['examples_per_second'] or 0:.1f}"]
        cells += [_score(model["languages"].get(language, {}), metric) for language in languages]
        grid.rows.append([_label(name, content), *cells, _score(model["macro_average"], metric)])
    grid.note = "in brackets: 95 % interval over examples; speed as busy as the machine was at the evaluation"
    return grid


def quality_plots(content: Mapping[str, Any]) -> list[Plot]:
    """Return plots of the average score over languages against speed and against size, all relative to the reference.

    The reference is at (1, 1). Fewer than three models get no plot, because the table shows them well enough.
    """
    models, metric = content["models"], content["metric"]
    reference = models.get(content["reference"]) or next(iter(models.values()), None)
    best = _value(reference, metric) if reference else None
    plots: list[Plot] = []
    for key, label in (
        ("examples_per_second", "speed over the reference's"),
        ("parameters", "parameters over the reference's"),
    ):
        points = {}
        for name, model in models.items():
            score = _value(model, metric)
            if score is not None and best and reference and model[key] and reference[key]:
                points[_label(name, content)] = (model[key] / reference[key], score / best)
        if len(points) > 2:
            languages = ", ".join(content["test_sets"])
            title = f"{content['task']}, average of {languages}: quality against {label.split()[0]}"
            plots.append(Points(title, label, f"{metric} over the reference's", points))
    return plots


def _label(name: str, content: Mapping[str, Any]) -> str:
    """Return a label in words for a model of the transfer benchmark, else the name that `evaluate.py` was given."""
    return LABELS.get(name, name) if set(content["models"]) <= {"teacher", *LABELS} else name


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
