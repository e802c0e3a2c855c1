"""An evaluation (`evaluate.py`) as the report shows it: scores by language, and quality against size and speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bistil_ds.benchmarking.harness.plots import Plot, Points
from bistil_ds.benchmarking.harness.tables import Grid


def is_evaluation(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object is one that `evaluate.py` wrote."""
    return {"models", "test_sets", "metric", "task"} <= set(content)


def quality_grids(content: Mapping[str, Any]) -> list[Grid]:
    """The task's main metric of each model in each language, with its interval, and parameters and speed."""
    metric, languages = content["metric"], list(content["test_sets"])
    grid = Grid(
        f"Quality, {content['task']} ({metric})", ["model", "M parameters", "examples/s", *languages, "average"]
    )
    for name, model in content["models"].items():
        cells = [f"{model['parameters'] / 1e6:.1f}", f"{model['examples_per_second'] or 0:.1f}"]
        cells += [_score(model["languages"].get(language, {}), metric) for language in languages]
        grid.rows.append([name, *cells, _score(model["macro_average"], metric)])
    grid.note = "in brackets: 95 % interval over examples; speed as busy as the machine was at the evaluation"
    return [grid]


def quality_plots(content: Mapping[str, Any]) -> list[Plot]:
    """The average over languages against speed and against size, all over the reference's, which is at (1, 1).

    None of two models alone: the table says as much.
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
                points[name] = (model[key] / reference[key], score / best)
        if len(points) > 2:
            languages = ", ".join(content["test_sets"])
            title = f"{content['task']}, average of {languages}: quality against {label.split()[0]}"
            plots.append(Points(title, label, f"{metric} over the reference's", points))
    return plots


def _value(model: Mapping[str, Any], metric: str) -> float | None:
    """The average over languages."""
    found = model["macro_average"].get("score", {}).get(metric)
    return float(found["value"]) if found else None


def _score(result: Mapping[str, Any], metric: str) -> str:
    found = result.get("score", {}).get(metric)
    if not found:
        return ""
    interval = f" ({100 * found['low']:.1f} to {100 * found['high']:.1f})" if found.get("low") is not None else ""
    return f"{100 * found['value']:.1f}{interval}"
