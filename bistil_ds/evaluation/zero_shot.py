"""Run the zero-shot evaluation of several models in several languages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from bistil_ds.console.progress import progress_bar
from bistil_ds.errors import InputError
from bistil_ds.evaluation.held_out import RunOptions
from bistil_ds.evaluation.plan import Plan, check_numbers, prepare
from bistil_ds.evaluation.result import Evaluation
from bistil_ds.tasks import Task, find_task
from bistil_ds.tasks.candidates import ModelChoice


def evaluate(
    models: Mapping[str, str | Path | Sequence[str | Path]],
    test_files: Mapping[str, str | Path],
    task: str | Task,
    *,
    reference: str | None = None,
    train_files: Sequence[str | Path] = (),
    columns: Mapping[str, str] | None = None,
    label_map: Mapping[str, str] | None = None,
    max_length: int | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    resamples: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Score every model in every language, with confidence intervals of scores and of differences to a reference.

    Example:
        >>> from bistil_ds import evaluate
        >>> files = {"en": "en.txt", "tr": "tr.txt"}
        >>> result = evaluate({"old": "tagger", "new": "tagger"}, files, "ner", progress=False)
        >>> result.difference("f1", "new", "tr")  # of the same tagger, so that the paired interval has no width
        Estimate(value=0.0, low=0.0, high=0.0)

    Args:
        models: name → folder or hub id, or [folder, SFT, SFT ...] with the sparse fine-tunings to apply in order.
        test_files: language → file or hub data set. For sentence vectors (`embed`), name → `"FILE,FILE"` of parallel
            texts, a file of scored pairs, or a folder in BEIR's form.
        task: a task or its name.
        reference: the model that the others are compared with; by default the first.
        train_files: training files. The result states the share of test examples whose text also stands in one of them.
            By default: the training data named in the `run.json` of each model and fine-tuning.
        columns, label_map: as in `ReadOptions`.
        max_length: longest input in tokens; by default the length that each model was trained with, and for sentence
            vectors its own limit.
        limit: use only the first `limit` examples of each file.
        batch_size: rows in a batch.
        resamples, seed: arguments of `Bootstrap`.
        progress: show bars.

    Returns:
        The finished evaluation, with scores as shares between 0 and 1, 95 % intervals, and examples a second.

    Raises:
        InputError: an argument, file or model cannot be used; raised before any model runs.
    """
    if not models or not test_files:
        raise InputError("evaluate: expected at least one model and one test file")
    check_numbers(batch_size=batch_size, limit=limit, resamples=resamples, seed=seed)
    choices = []
    for name, paths in models.items():
        folder, *sfts = [str(paths)] if isinstance(paths, (str, Path)) else [str(path) for path in paths]
        choices.append(ModelChoice(name, folder, tuple(sfts)))
    plan = prepare(
        choices,
        {language: str(source) for language, source in test_files.items()},
        find_task(task) if isinstance(task, str) else task,
        reference=reference,
        train_files=[str(file) for file in train_files],
        columns=columns,
        label_map=label_map,
        max_length=max_length,
        limit=limit,
        progress=progress,
    )
    return run(plan, batch_size=batch_size, resamples=resamples, seed=seed, progress=progress)


def run(
    plan: Plan,
    *,
    batch_size: int = 32,
    resamples: int = 1000,
    seed: int = 0,
    keep_resamples: bool = False,
    progress: bool = True,
    on_cell: Callable[[Evaluation], object] = lambda evaluation: None,
) -> Evaluation:
    """Run every model of the plan in every language, on the GPU if there is one.

    Args:
        keep_resamples: whether `Evaluation.as_json` holds the main metric in each resample, to compare models that are
            evaluated apart.
        on_cell: called after each (model, language) with the evaluation so far.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    evaluation = Evaluation(plan, str(device), batch_size, resamples, seed, keep_resamples)
    options = RunOptions(batch_size, device)
    total = len(plan.models) * sum(held.inputs for held in plan.test_sets)
    with progress_bar(total=total, unit="example", show=progress) as bar:
        for candidate in sorted(plan.models, key=lambda each: each.choice.name != plan.reference):
            loaded = plan.cache.get(candidate.choice)
            loaded.model.to(device)
            cells = evaluation.cells.setdefault(candidate.choice.name, {})
            for held in plan.test_sets:
                bar.set_description(f"{candidate.choice.name}, {held.language}")
                reference = evaluation.cells[plan.reference].get(held.language) if plan.reference else None
                cells[held.language] = held.answer(loaded, candidate, options, bar.update, reference)
                on_cell(evaluation)
    evaluation.estimate()
    return evaluation
