"""`export.py`: merge a model and its sparse fine-tunings (SFTs) into one folder that transformers alone can load."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from bistil_ds.console import cli
from bistil_ds.console.terminal import say
from bistil_ds.distributed import startup
from bistil_ds.errors import InputError
from bistil_ds.export.card_languages import read_samples
from bistil_ds.export.engines.check import EngineError
from bistil_ds.export.engines.request import MAX_LOSS, EngineRequest, parse_calibration_files, parse_dev_files
from bistil_ds.export.export_model import check_flags, export_model
from bistil_ds.export.folder import task_to_export
from bistil_ds.export.push import PushError, check_push
from bistil_ds.runs.folder import run_folder
from bistil_ds.tasks.embed.flags import VectorArguments, vector_choices
from bistil_ds.tasks.registry import NAMES

DESCRIPTION = "Merge a model's sparse fine-tunings and write one plain Hugging Face folder."


@dataclass
class ExportArguments:
    """Flags of the command; without --model, it uses the embedded sample's student and that student's task SFT."""

    model: str | None = field(default=None, metadata={"help": "Model folder or hub id."})
    sft: list[str] | None = field(
        default=None, metadata={"nargs": "+", "help": "Fine-tunings to merge, in order; the last brings the task head."}
    )
    task: str | None = field(
        default=None,
        metadata={"help": f"Where no fine-tuning names its task: {NAMES}."},
    )
    output_dir: str | None = field(default=None, metadata={"help": "Default: runs/export-<time>."})
    onnx: bool = field(default=False, metadata={"help": "Write model.onnx too, for ONNX Runtime."})
    openvino: bool = field(default=False, metadata={"help": "Write openvino_model.xml and .bin too."})
    int8: bool = field(default=False, metadata={"help": "Write an int8 version too, for each of these engines."})
    calibration_file: list[str] | None = field(
        default=None,
        metadata={"nargs": "+", "help": "Texts from which the ranges of int8 activations are measured; files or ids."},
    )
    dev_file: list[str] | None = field(
        default=None,
        metadata={"nargs": "+", "help": "[LANGUAGE=]FILE each: score every engine's file on it, beside PyTorch."},
    )
    max_loss: float = field(
        default=MAX_LOSS,
        metadata={"help": "Leave a file out that loses more points of the task's metric; inf: keep every file."},
    )
    licence: str | None = field(
        default=None, metadata={"help": "Licence for the model card, by its hub name, such as cc-by-4.0."}
    )
    language_samples: list[str] | None = field(
        default=None,
        metadata={
            "nargs": "+",
            "help": "Sentences, LANGUAGE=FILE, of which the model card shows how many pieces the model cannot read.",
        },
    )
    scores: str | None = field(default=None, metadata={"help": "evaluation.json of this model, for the model card."})
    push_to_hub: str | None = field(
        default=None, metadata={"help": "Push the folder to this hub repository, org/name or org/name@branch."}
    )
    private: bool = field(default=False, metadata={"help": "Make the repository private if it is new."})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `bistil-export` and return its exit code: 0, 2 for bad input, 130 after Ctrl-C.

    Raises:
        SystemExit: an engine's file was left out, because it computes something else than the model or loses more than
            --max_loss; or the folder could not be pushed. The process then exits with code 1.
    """
    return cli.run(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> None:
    ns = cli.parse(argv, [ExportArguments, VectorArguments], DESCRIPTION)
    startup.choose_accelerator()
    run_folder(ns.output_dir, "export", None, resumable=False)
    if ns.model is None and (ns.sft or ns.task or ns.scores):
        raise InputError("--model missing: give it with --sft, or neither for the embedded sample")
    samples = read_samples(ns.language_samples)
    chosen = vector_choices(vars(ns))
    engines = EngineRequest(
        ns.onnx,
        ns.openvino,
        ns.int8,
        parse_calibration_files(ns.calibration_file),
        parse_dev_files(ns.dev_file),
        ns.max_loss,
    )
    if ns.model is None:
        from bistil_ds.commands.sample_runs import sample_student_and_sft
        from bistil_ds.sample import held_out_sentences
        from bistil_ds.sample.defaults import SAMPLE_TASK

        check_push(ns.push_to_hub, ns.private)
        check_flags(ns.licence, engines)  # before the sample's models are made
        student, sft = sample_student_and_sft(SAMPLE_TASK)
        ns.model, ns.sft = str(student), [str(sft)]
        samples = samples or held_out_sentences()
    try:
        folder = export_model(
            ns.model,
            ns.sft or (),
            output_dir=ns.output_dir,
            task=task_to_export(ns.task, ns.sft or ()).configured(**chosen) if chosen else ns.task,
            **vars(engines),
            licence=ns.licence,
            scores=ns.scores,
            samples=samples,
            push_to_hub=ns.push_to_hub,
            private=ns.private,
        )
    except (EngineError, PushError) as error:
        raise SystemExit(f"error: {error}") from None
    say(folder)


if __name__ == "__main__":
    raise SystemExit(main())
