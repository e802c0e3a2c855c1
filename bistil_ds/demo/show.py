"""Show the demo's scores: tables, and a picture with the intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bistil_ds.console.grid import Grid
from bistil_ds.demo.pipeline import MASKED, TRANSLATIONS
from bistil_ds.demo.scores import DIFFERENCES, MODELS, SIZES, Range, Scores, held, mean_of
from bistil_ds.runs.checkpoints import STATE, all_checkpoints
from bistil_ds.runs.files import read_json

TITLES = {MASKED: "masked tokens", TRANSLATIONS: "translations found"}  # how a task is called, if not by its name


def tables(seeds: Sequence[Scores], sizes: Mapping[str, Mapping[str, float]], target: str) -> list[Grid]:
    """Return three tables: sizes and speed of the models, scores, and in how many seeds each claim holds."""
    return [size_table(sizes), score_table(seeds), claim_table(seeds, target)]


def size_table(sizes: Mapping[str, Mapping[str, float]]) -> Grid:
    """Return a table with a row for each model."""
    table = Grid("models", ["model", "parameters", "MB", "sentences/s"])
    for name, model in sizes.items():
        parameters, size, speed = (model[key] for key in SIZES)
        table.rows.append([MODELS[name], f"{parameters:,}", f"{size / 1e6:.1f}", f"{speed:.0f}"])
    return table


def score_table(seeds: Sequence[Scores]) -> Grid:
    """Return a table with a row for each model and difference, and a column for each measure."""
    means = mean_of(seeds)
    drawn = f"means over {len(seeds)} seeds" if len(seeds) > 1 else "one seed, test sentences drawn anew"
    table = Grid(f"per cent [95% interval: {drawn}]", ["", *map(title, means)])
    for name, words in MODELS.items():
        table.rows.append([words, *(_cell(rows[name]) for rows in means.values())])
    for other, words in DIFFERENCES.items():
        table.rows.append([words, *(_cell(rows[f"student - {other}"], "+") for rows in means.values())])
    return table


def claim_table(seeds: Sequence[Scores], target: str) -> Grid:
    """Return a table with a row for each claim: the number of seeds in which it holds, for each measure."""
    counts = held(seeds, target)
    measures = list(next(iter(counts.values())))
    table = Grid(f"the student, in how many of {len(seeds)} seeds", ["", *map(title, measures)])
    table.rows = [[text, *map(str, found.values())] for text, found in counts.items()]
    return table


def title(measure: str) -> str:
    """Return how tables and the picture call a measure."""
    task, language = measure.split()
    return f"{TITLES.get(task, task)} {language}"


def draw(path: Path, seeds: Sequence[Scores], sizes: Mapping[str, Mapping[str, float]], student: Path) -> None:
    """Draw the validation loss of phase 1, the scores with their intervals, and size and speed beside the teacher's.

    Args:
        path: the PNG file.
        student: the folder of a phase-1 run.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    means = mean_of(seeds)
    tasks = list(dict.fromkeys(measure.split()[0] for measure in means))
    averaged = f": mean of {len(seeds)} seeds" if len(seeds) > 1 else ""
    figure, axes = plt.subplots(1, 2 + len(tasks), figsize=(5 * (2 + len(tasks)), 4.2), layout="constrained")
    of = {task: {m.split()[1]: rows for m, rows in means.items() if m.split()[0] == task} for task in tasks}
    _history(axes[0], validation_history(student), of[MASKED])
    for axis, task in zip(axes[1:], tasks):
        _score_bars(axis, of[task])
        axis.set_title(TITLES.get(task, f"{task}, trained in English") + averaged)
    _relative_bars(axes[-1], sizes)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _history(axis: Any, history: Sequence[Mapping[str, float]], languages: Iterable[str]) -> None:
    for language in languages:
        losses = [row[f"eval_{language}_loss"] for row in history]
        axis.plot([row["step"] for row in history], losses, marker=".", label=language)
    axis.set(title="phase 1: validation loss", xlabel="step", yscale="log")
    axis.legend()


def _score_bars(axis: Any, scores: Mapping[str, Mapping[str, Range]]) -> None:
    width = 0.8 / len(scores)
    for number, (language, rows) in enumerate(scores.items()):
        ends = {end: np.array([100 * rows[name][end] for name in MODELS]) for end in ("value", "low", "high")}
        places, beyond = (
            np.arange(len(MODELS)) + number * width,
            (ends["value"] - ends["low"], ends["high"] - ends["value"]),
        )
        bars = axis.bar(places, ends["value"], width, yerr=beyond, capsize=3, label=language)
        axis.bar_label(bars, fmt="{:.0f}", padding=2, fontsize=8)
    axis.set_xticks(
        [place + width / 2 for place in range(len(MODELS))],
        [words.replace(", ", ",\n").replace(" without", "\nwithout") for words in MODELS.values()],
    )
    axis.tick_params(axis="x", labelsize=8)
    axis.set(ylim=(0, 125), ylabel="per cent")
    axis.legend(ncols=len(scores), loc="upper right")


def _relative_bars(axis: Any, sizes: Mapping[str, Mapping[str, float]]) -> None:
    names = dict(zip(SIZES, ("parameters", "bytes", "sentences/s")))
    parts = [sizes["student"][size] / sizes["teacher"][size] for size in names]
    axis.bar_label(axis.bar(list(names.values()), parts), fmt="%.2f")
    axis.axhline(1, color="grey", linewidth=0.8)
    axis.set(title="student relative to the teacher")


def validation_history(folder: Path) -> list[dict[str, float]]:
    """Return the log rows of a phase-1 run's validations; the run's newest checkpoint holds them."""
    state = read_json(all_checkpoints(folder)[-1] / STATE, "train again", keys=("log_history",), finite=False)
    return [row for row in state["log_history"] if "eval_loss" in row]


def _cell(found: Range, sign: str = "") -> str:
    value, low, high = (f"{100 * found[end]:{sign}.1f}" for end in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
