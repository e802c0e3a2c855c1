"""Show an evaluation as tables, in the terminal or in Markdown."""

from __future__ import annotations

from bistil_ds.console.grid import Grid
from bistil_ds.console.terminal import say, show
from bistil_ds.console.untrusted import in_markdown
from bistil_ds.evaluation.bootstrap import CONFIDENCE, Estimate
from bistil_ds.evaluation.result import Evaluation

ABSENT = "–"
MOST_COLUMNS = 8  # if there are more languages, the table of models shows only their average


def print_report(evaluation: Evaluation) -> None:
    """Print the test sets, the models, the main metrics with their intervals, and the notes."""
    mains = dict.fromkeys(held.metric for held in evaluation.plan.test_sets)
    for grid in (sources(evaluation), overview(evaluation), *(scores(evaluation, metric) for metric in mains)):
        show(grid)
    for note in notes(evaluation):
        say(note)


def markdown(evaluation: Evaluation) -> str:
    """Return the test sets, the models, every metric with its intervals, and the notes, as Markdown."""
    grids = [sources(evaluation), overview(evaluation), *(scores(evaluation, name) for name in evaluation.metrics)]
    parts = [f"# Evaluation: {evaluation.plan.task.name}", *(grid.markdown().rstrip() for grid in grids)]
    return "\n\n".join([*parts, *map(in_markdown, notes(evaluation))]) + "\n"


def sources(evaluation: Evaluation) -> Grid:
    """Return a table with a row for each test set."""
    rows = []
    for held in evaluation.plan.test_sets:
        seen = ABSENT if held.seen_in_training is None else f"{held.seen_in_training:.1%}"
        rows.append([held.language, f"{len(held.examples):,}", seen])
    return Grid("test sets", ["language", "examples", "in training"], rows)


def overview(evaluation: Evaluation) -> Grid:
    """Return a table with a row for each model: its size, its speed and the main metric of each test set."""
    mains = {held.language: held.metric for held in evaluation.plan.test_sets}
    columns: list[tuple[str, str | None]] = [(metric, language) for language, metric in mains.items()]
    alike = len(set(mains.values())) == 1
    if alike and len(mains) > 1:
        columns = [*(columns if len(columns) <= MOST_COLUMNS else []), (evaluation.metrics[0], None)]
    rows = []
    for candidate in evaluation.plan.models:
        name = candidate.choice.name
        speed = evaluation.examples_per_second(name)
        found = [evaluation.score(metric, name, language) for metric, language in columns]
        size = [f"{candidate.parameters:,}", f"{candidate.bytes / 1e6:.1f}"]
        rows.append([name, *size, ABSENT if speed is None else f"{speed:.1f}", *map(_percent, found)])
    titles = [language or "macro" if alike else f"{language} {metric}" for metric, language in columns]
    header = ["model", "parameters", "MB", "examples/s", *titles]
    return Grid(f"models; {evaluation.metrics[0] if alike else 'main metrics'}, per cent", header, rows)


def scores(evaluation: Evaluation, metric: str) -> Grid:
    """Return a table with a row for each language and model: score and difference to the reference, with intervals."""
    reference = evaluation.plan.reference
    header = ["language", "model", metric, *([f"minus {reference}"] if reference else [])]
    having = [held.language for held in evaluation.plan.test_sets if metric in evaluation.metrics_in(held)]
    places = [*having, *([None] if len(having) > 1 else [])]
    rows = []
    for language in places:
        for model in evaluation.models:
            row = [language or "macro average", model, _with_interval(evaluation.score(metric, model, language))]
            if reference:
                row.append(_with_interval(evaluation.difference(metric, model, language), sign="+"))
            rows.append(row)
    return Grid(f"{metric}, per cent [{CONFIDENCE:.0%} interval]", header, rows, texts=2)


def notes(evaluation: Evaluation) -> list[str]:
    """Return sentences on how the numbers were computed and what they leave out."""
    plan = evaluation.plan
    found = []
    if not evaluation.finished:
        done = sum(len(cells) for cells in evaluation.cells.values())
        found.append(f"Unfinished: {done} of {len(plan.models) * len(plan.test_sets)} cells were run.")
    found += [
        f"Only the first {len(held.examples):,} of {held.in_source:,} examples of {held.language} were used."
        for held in plan.test_sets
        if len(held.examples) < held.in_source
    ]
    found += [f"{name}: {plan.how[name]}." for name in evaluation.models if name in plan.how]
    if plan.label_map:
        found.append(
            f"Labels read as others: {', '.join(f'{one} as {other}' for one, other in plan.label_map.items())}."
        )
    found.append(
        f"Intervals: percentile bootstrap, {evaluation.resamples:,} resamples of the examples within each language, "
        "the same for every model."
    )
    if plan.reference:
        found += filter(None, dict.fromkeys(held.compared for held in plan.test_sets))
    if plan.train_files:
        found.append(f"In training: share of test examples whose text also stands in {', '.join(plan.train_files)}.")
    found += [f"Recorded training data was not compared: {why}." for why in plan.unread]
    found.append(
        f"Examples/s: one pass over the data of this run on {evaluation.device} in batches of {evaluation.batch_size}, "
        f"{plan.test_sets[0].timed}; other work on the machine slows it."
    )
    return found


def _percent(estimate: Estimate | None) -> str:
    return ABSENT if estimate is None else f"{100 * estimate.value:.1f}"


def _with_interval(estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None:
        return ABSENT
    value, *ends = [
        f"{100 * number:{sign}.1f}" for number in (estimate.value, estimate.low, estimate.high) if number is not None
    ]
    return f"{value} [{', '.join(ends)}]" if ends else value
