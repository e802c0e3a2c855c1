"""`teacher.py`: tune a multilingual model on a task, sparsely (LT-SFT) or densely; `--task mlm` makes language SFTs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bistil_ds.commands.tuning import run
from bistil_ds.tasks import Task
from bistil_ds.tasks.models import base_metadata
from bistil_ds.tasks.sources import parse_sources
from bistil_ds.training.licences import gather_licences
from bistil_ds.tuning.arguments import TunedModelArguments
from bistil_ds.tuning.preparation import prepare_base
from bistil_ds.tuning.run import Prepared, TuneCommand


class TuneTeacher(TuneCommand):
    """Teacher tuning: the model, with its language SFTs applied, learns from labels.

    The SFT that results is for the model without those language SFTs.
    """

    script = "teacher"
    description = "Tune a multilingual model on a task by lottery-ticket sparse fine-tuning (or --dense)."
    types = (TunedModelArguments,)
    models = ("model",)
    sfts = "source_sft"

    def use_sample(self, ns: argparse.Namespace) -> None:
        from bistil_ds.sample import sample_mmt

        ns.model = str(sample_mmt())

    def labels(self, ns: argparse.Namespace, task: Task, examples: Sequence[Any]) -> tuple[str, ...]:
        return task.labels(examples)

    def prepare(self, ns: argparse.Namespace, task: Task, labels: Sequence[str], folder: Path) -> Prepared:
        loaded = prepare_base(folder, ns.model, ns.source_sft or (), task, labels, ns.seed)
        return loaded.model, {"parameters": loaded.model.num_parameters()}

    def metadata(self, ns: argparse.Namespace) -> dict[str, Any]:
        data = parse_sources(ns.train_file, "--train_file")
        licences = gather_licences({ns.model: ns.model_licence}, ns.source_sft or (), data, ns.data_licence)
        return {**base_metadata(ns.model), "licences": licences}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `bistil-teacher` and return its exit code (see `run`)."""
    return run(TuneTeacher(), argv)


if __name__ == "__main__":
    raise SystemExit(main())
