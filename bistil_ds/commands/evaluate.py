"""`evaluate.py`: score models on test files of one language or many; write a report and print a table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bistil_ds.console import cli
from bistil_ds.console.terminal import say
from bistil_ds.errors import InputError
from bistil_ds.evaluation.choices import parse_models, parse_test_files
from bistil_ds.evaluation.plan import Plan, check_numbers, prepare
from bistil_ds.evaluation.report import markdown, print_report
from bistil_ds.evaluation.result import Evaluation
from bistil_ds.evaluation.zero_shot import run
from bistil_ds.runs.files import read_json, write_whole
from bistil_ds.runs.folder import new_folder, run_folder
from bistil_ds.runs.record import RunRecord
from bistil_ds.tasks import find_task
from bistil_ds.tasks.data import parse_pairs
from bistil_ds.tasks.embed.flags import VectorArguments, vector_choices
from bistil_ds.tasks.registry import NAMES
from bistil_ds.tasks.sources import parse_sources
from bistil_ds.training.product import check_product

DESCRIPTION = "Score models on a task in one language or many, side by side."
NEEDED = ("model", "test_file", "task")
RESULT_FILE, REPORT_FILE = "evaluation.json", "evaluation.md"


@dataclass
class EvaluationArguments:
    """Flags of the command; without --model, --sft and --test_file, it uses the embedded sample."""

    model: list[str] | None = field(
        default=None,
        metadata={
            "nargs": "+",
            "help": "[NAME=]FOLDER[+SFT...] each: a model folder or hub id, and fine-tunings to apply in order; or "
            "FOLDER/FILE, an engine's .onnx or .xml file.",
        },
    )
    sft: list[str] | None = field(default=None, metadata={"nargs": "+", "help": "Fine-tunings of the one --model."})
    task: str | None = field(default=None, metadata={"help": f"{NAMES}."})
    test_file: list[str] | None = field(
        default=None,
        metadata={
            "nargs": "+",
            "help": "[LANGUAGE=]FILE each, or hub dataset ids; a file alone is called after its folder. For embed: "
            "NAME=FILE,FILE (parallel), NAME=FILE (scored pairs), NAME=FOLDER (BEIR).",
        },
    )
    reference: str | None = field(
        default=None, metadata={"help": "Name of the model others are compared with; default: the first."}
    )
    train_file: list[str] | None = field(
        default=None,
        metadata={
            "nargs": "+",
            "help": "Report how many test examples stand in these; default: the files the SFTs were trained on.",
        },
    )
    columns: list[str] | None = field(
        default=None,
        metadata={
            "nargs": "+",
            "help": "OURS=THEIRS columns: tags=ner_tags; without a header, tags=4 tokens=2.",
        },
    )
    label_map: list[str] | None = field(
        default=None, metadata={"nargs": "+", "help": "Labels to read as others: DATE=O, or PERSON=PER."}
    )
    max_length: int | None = field(
        default=None, metadata={"help": "Longest input in tokens; default: as the model was trained."}
    )
    batch_size: int = field(default=32, metadata={"help": "Inputs in one forward pass."})
    limit: int | None = field(default=None, metadata={"help": "Use the first N examples of each file only."})
    resamples: int = field(default=1000, metadata={"help": "Resamples of the bootstrap intervals."})
    seed: int = field(default=0, metadata={"help": "Seed of the bootstrap."})
    keep_resamples: bool = field(
        default=False, metadata={"help": "Write the metric of each resample too, to compare runs pair by pair."}
    )
    output_dir: str | None = field(default=None, metadata={"help": "Run folder; default: runs/evaluate-<time>."})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `bistil-evaluate` and return its exit code: 0, 2 for bad input, 130 after Ctrl-C."""
    return cli.run(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> None:
    ns = cli.parse(argv, [EvaluationArguments, VectorArguments], DESCRIPTION)
    folder = run_folder(ns.output_dir, "evaluate", None, resumable=False)
    plan = _plan(ns)
    with new_folder(folder, explicit=ns.output_dir is not None) as folder:
        data = {held.language: {"path": held.source, "sha256": held.sha256} for held in plan.test_sets}
        record = RunRecord(folder, arguments=vars(ns), seeds={"seed": ns.seed}, data=data)
    try:
        evaluation = run(
            plan,
            batch_size=ns.batch_size,
            resamples=ns.resamples,
            seed=ns.seed,
            keep_resamples=ns.keep_resamples,
            on_cell=lambda so_far: write(so_far, record),
        )
    except KeyboardInterrupt:
        say(f"interrupted; what was finished is in {folder}", error=True)
        raise
    write(evaluation, record)
    check_product(folder, read_result)
    record.update(results=_summary(evaluation))
    record.finish()
    write(evaluation, record)  # again, with the time at which the run finished
    print_report(evaluation)
    say(f"{folder / RESULT_FILE}    {folder / REPORT_FILE}")


def _plan(ns: argparse.Namespace) -> Plan:
    """Return the checked plan; without --model, --sft and --test_file, the plan for the embedded sample.

    Raises:
        InputError: a flag is missing or cannot be used.
    """
    check_numbers(batch_size=ns.batch_size, limit=ns.limit, resamples=ns.resamples, seed=ns.seed)
    if not ns.model and not ns.test_file and not ns.sft:
        _use_sample(ns)
    if missing := [f"--{name}" for name in NEEDED if not getattr(ns, name)]:
        raise InputError(
            f"{' '.join(missing)} missing: give all of {', '.join('--' + name for name in NEEDED)}, or none"
        )
    return prepare(
        parse_models(ns.model, ns.sft or ()),
        parse_test_files(ns.test_file),
        find_task(ns.task).configured(**vector_choices(vars(ns))),
        reference=ns.reference,
        train_files=[file for _, file in parse_sources(ns.train_file or (), "--train_file")],
        columns=parse_pairs(ns.columns, "--columns"),
        label_map=parse_pairs(ns.label_map, "--label_map"),
        max_length=ns.max_length,
        limit=ns.limit,
    )


def _use_sample(ns: argparse.Namespace) -> None:
    """Change the flags in place, so that the sample's teacher and student are compared on the sample's test files."""
    from bistil_ds.commands.sample_runs import sample_student_and_sft, sample_teacher_sft
    from bistil_ds.sample import sample_mmt
    from bistil_ds.sample.defaults import SAMPLE_LANGUAGES, SAMPLE_TASK
    from bistil_ds.sample.tasks import ENDINGS, sample_task_file

    ns.task = ns.task or SAMPLE_TASK
    if ns.task not in ENDINGS:
        raise InputError(
            f"--task {ns.task}: the embedded sample has {', '.join(ENDINGS)}; give --model and --test_file"
        )
    student, sft = sample_student_and_sft(ns.task)
    ns.model = [f"teacher={sample_mmt()}+{sample_teacher_sft(ns.task)}", f"student={student}+{sft}"]
    ns.test_file = [f"{language}={sample_task_file(ns.task, language, 'test')}" for language in SAMPLE_LANGUAGES]


def write(evaluation: Evaluation, record: RunRecord) -> None:
    """Write `evaluation.json`, with the run's record in it, and `evaluation.md`; each replaces its earlier version."""
    content = {**evaluation.as_json(), "run": {k: v for k, v in record.content.items() if k != "results"}}
    texts = {
        RESULT_FILE: json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n",
        REPORT_FILE: markdown(evaluation),
    }
    for name, text in texts.items():
        write_whole(record.path.with_name(name), text)


def read_result(folder: Path) -> dict[str, Any]:
    """Return the content of the `evaluation.json` in a folder.

    Raises:
        InputError: the file is missing or damaged.
    """
    return read_json(folder / RESULT_FILE, "evaluate again", keys=("task", "models", "run"))


def _summary(evaluation: Evaluation) -> dict[str, Any]:
    """Return the main metric of each model in each language, for `run.json`."""
    mains = {held.language: held.metric for held in evaluation.plan.test_sets}
    scores = {
        model: {
            language: each.value
            for language, metric in mains.items()
            if (each := evaluation.score(metric, model, language))
        }
        for model in evaluation.models
    }
    return {"metric": ", ".join(dict.fromkeys(mains.values())), "scores": scores}


if __name__ == "__main__":
    raise SystemExit(main())
