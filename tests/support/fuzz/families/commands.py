"""The commands whose flags are made up: for each, how it is called, and where it is stopped before anything heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from typing import Any, NoReturn
from unittest.mock import patch

from transformers import TrainingArguments

from bistil_ds.benchmarking.registry import BENCHMARKS
from bistil_ds.benchmarking.run_benchmark import command_of
from bistil_ds.commands import evaluate, export, general, pretrain, task, teacher, trim
from bistil_ds.demo import __main__ as demo
from bistil_ds.tasks.embed.flags import VectorArguments
from bistil_ds.training.kernels.flag import KernelFlags

Words = tuple[str, ...]


class ReachedError(Exception):
    """The flags were accepted, and what follows would load a model, train, or measure."""


def _reach(*_: Any, **__: Any) -> NoReturn:
    raise ReachedError


# What loads models, makes those of the sample, or measures; all that comes before is tried.
STOPS = (
    "bistil_ds.distillation.checks.check_teacher",
    "bistil_ds.tuning.preparation.longest_of",
    "bistil_ds.evaluation.plan.ModelCache",
    "bistil_ds.export.export_model.examine",
    "bistil_ds.trimming.trim.open_base",
    "bistil_ds.trimming.trim.read_trim_record",
    "bistil_ds.commands.pretrain._trainer_of",
    "bistil_ds.commands.pretrain.write_text",
    "bistil_ds.demo.__main__.sample_material",
    "bistil_ds.demo.__main__.run_seed",
    *(f"bistil_ds.sample.{name}" for name in ("mmt.sample_corpora", "mmt.sample_mmt", "mmt.held_out_sentences")),
    *(f"bistil_ds.commands.sample_runs.{name}" for name in ("sample_student", "sample_teacher_sft")),
    "bistil_ds.commands.sample_runs.sample_student_and_sft",
    "bistil_ds.benchmarking.harness.result_file.ResultFile",
)


@contextmanager
def stopped() -> Iterator[None]:
    """Let every command raise ReachedError where its flags were accepted."""
    with ExitStack() as stack:
        for name in STOPS:
            stack.enter_context(patch(name, _reach))
        yield


@dataclass(frozen=True)
class Command:
    """A command, the words of a call that reaches its end, and the dataclasses of its flags."""

    main: Callable[[Sequence[str]], int]
    words: Words
    kinds: tuple[type, ...]

    @property
    def names(self) -> list[str]:
        """Return its flags, the command's own ones three times: they are to be drawn more often."""
        inherited = set(TrainingArguments.__dataclass_fields__)
        names = [each.name for kind in self.kinds for each in fields(kind)]
        return [*names, *[name for name in names if name not in inherited] * 2]


PHASE_1 = ("--teacher_model", "t", "--text", "aa=aa.txt", "bb=bb.txt", "--output_dir", "out", "--max_steps", "9")
TUNING = ("--task", "ner", "--train_file", "aa=ner.txt", "--dev_file", "aa=dev.txt", "--output_dir", "out")
COMMANDS = {
    "general": Command(general.main, PHASE_1, tuple(general.COMMAND.flags)),
    "teacher": Command(teacher.main, ("--model", "t", *TUNING), tuple(teacher.COMMAND.flags)),
    "task": Command(task.main, ("--student", "s", "--teacher_model", "t", *TUNING), tuple(task.COMMAND.flags)),
    "evaluate": Command(
        evaluate.main,
        ("--model", "a=t", "b=s", "--task", "ner", "--test_file", "aa=ner.txt", "--output_dir", "out"),
        (evaluate.EvaluationArguments, VectorArguments),
    ),
    "export": Command(
        export.main,
        ("--model", "t", "--task", "ner", "--output_dir", "out"),
        (export.ExportArguments, VectorArguments),
    ),
    "trim": Command(
        trim.main,
        ("--model", "t", "--text", "aa=aa.txt", "--output_dir", "out"),
        (trim.TrimArguments, trim.TrimOptions),
    ),
    "pretrain": Command(
        pretrain.main, ("--input_folder", "texts", "--output_dir", "out"), (pretrain.PretrainArguments,)
    ),
    "demo": Command(demo.main, ("--output_dir", "out"), (demo.DemoArguments,)),
}
TRAINING = ("general", "teacher", "task")
MEASURING = {
    name: Command(command_of(name), ("--output_dir", "out"), (benchmark.flags, KernelFlags))
    for name, benchmark in BENCHMARKS.items()
}
