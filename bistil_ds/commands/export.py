"""`export.py`: merge a model and its SFTs into one folder that transformers loads with nothing of ours."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers.utils import logging

from bistil_ds.console import cli
from bistil_ds.distributed import startup
from bistil_ds.errors import InputError
from bistil_ds.export.card_languages import read_samples
from bistil_ds.export.card_scores import read_scores
from bistil_ds.export.folder import task_to_export, write_export
from bistil_ds.export.onnx import ONNX_FILE, require_onnx
from bistil_ds.models.licences import check_licence
from bistil_ds.runs.folder import new_folder, run_folder
from bistil_ds.tasks.candidates import ModelCache, ModelChoice, examine

DESCRIPTION = "Merge a model's sparse fine-tunings and write one plain Hugging Face folder."


@dataclass
class ExportArguments:
    """The flags; without --model, the embedded sample's student and its task SFT are used."""

    model: str | None = field(default=None, metadata={"help": "Model folder or hub id."})
    sft: list[str] | None = field(
        default=None, metadata={"nargs": "+", "help": "Fine-tunings to merge, in order; the last brings the task head."}
    )
    task: str | None = field(
        default=None,
        metadata={"help": "Where no fine-tuning names its task: dp, pos, ner, nli, qa, mlm, or a plug-in's."},
    )
    output_dir: str | None = field(default=None, metadata={"help": "Default: runs/export-<time>."})
    onnx: bool = field(default=False, metadata={"help": "Write model.onnx too, checked against ONNX Runtime."})
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `bistil-export` and return its exit code: 0, 2 for bad input, 130 after Ctrl-C.

    Raises:
        SystemExit: ONNX Runtime computes something else than the model; the process then exits with code 1.
    """
    return cli.run(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> None:
    ns = cli.parse(argv, [ExportArguments], DESCRIPTION)
    startup.choose_accelerator()
    logging.disable_progress_bar()  # transformers shows a bar for every file it reads and writes
    folder = run_folder(ns.output_dir, "export", None, resumable=False)
    if ns.model is None and (ns.sft or ns.task or ns.scores):
        raise InputError("--model missing: give it with --sft, or neither for the embedded sample")
    check_licence("--licence", ns.licence)
    if ns.onnx:
        require_onnx()
    samples = read_samples(ns.language_samples)
    if ns.model is None:
        from bistil_ds.commands.sample_runs import sample_student_and_sft
        from bistil_ds.sample import held_out_sentences
        from bistil_ds.sample.defaults import SAMPLE_TASK

        student, sft = sample_student_and_sft(SAMPLE_TASK)
        ns.model, ns.sft = str(student), [str(sft)]
        samples = samples or held_out_sentences()
    sfts = tuple(ns.sft or ())
    shelf = ModelCache(task_to_export(ns.task, sfts))
    candidate = examine(ModelChoice(ns.model, ns.model, sfts), shelf, None)
    loaded = shelf.get(candidate.choice)
    scores = read_scores(ns.scores, candidate.weights_sha256) if ns.scores else None
    with new_folder(folder, explicit=ns.output_dir is not None) as folder:
        failure = write_export(
            folder, loaded, candidate, ns.licence, scores, onnx=ns.onnx, arguments=vars(ns), samples=samples
        )
    print(folder)
    if failure:
        raise SystemExit(f"error: {failure}; {folder} holds everything but {ONNX_FILE}")


if __name__ == "__main__":
    raise SystemExit(main())
