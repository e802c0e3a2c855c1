"""Export: a student and its fine-tunings as one folder that transformers loads with nothing of ours."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers.utils import logging

from bistil_ds.console import cli
from bistil_ds.distributed import startup
from bistil_ds.errors import InputError
from bistil_ds.model_card import model_card
from bistil_ds.model_card_facts import CardFacts, base_facts, sft_facts
from bistil_ds.model_card_scores import Score, read_scores
from bistil_ds.models.inputs import longest_input
from bistil_ds.onnx_export import ONNX_FILE, OnnxCheck, OnnxMismatchError, export_onnx, require_onnx
from bistil_ds.runs.folder import UNFINISHED, new_folder, run_folder
from bistil_ds.runs.record import RECORD_FILE, RunRecord
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sft.metadata import LANGUAGE_TASK
from bistil_ds.tasks import Task, find_task
from bistil_ds.tasks.candidates import TRAINED_LENGTH, Candidate, ModelChoice, Shelf, examine
from bistil_ds.tasks.models import LoadedTaskModel

DESCRIPTION = "Merge a model's sparse fine-tunings and write one plain Hugging Face folder."
CARD_FILE = "README.md"


@dataclass
class ExportArguments:
    """The command line. Without --model, the embedded sample's student and its task fine-tuning."""

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
    scores: str | None = field(default=None, metadata={"help": "evaluation.json of this model, for the model card."})


def main(argv: Sequence[str] | None = None) -> int:
    """The command `bistil-export`: exit code 0, 2 for bad input, 1 when ONNX Runtime computes something else."""
    return cli.run(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> None:
    ns = cli.parse(argv, [ExportArguments], DESCRIPTION)
    startup.choose_accelerator()
    logging.disable_progress_bar()  # transformers' bars for every file it reads and writes
    folder = run_folder(ns.output_dir, "export", None, resumable=False)
    if ns.model is None and (ns.sft or ns.task or ns.scores):
        raise InputError("--model missing: give it with --sft, or neither for the embedded sample")
    if ns.licence is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", ns.licence):
        raise InputError(f"--licence {ns.licence}: expected a licence's name on the hub, such as cc-by-4.0")
    if ns.onnx:
        require_onnx()
    if ns.model is None:
        from bistil_ds.sample_pipeline import sample_student_and_sft
        from bistil_ds.tune import SAMPLE_TASK

        student, sft = sample_student_and_sft(SAMPLE_TASK)
        ns.model, ns.sft = str(student), [str(sft)]
    sfts = tuple(ns.sft or ())
    shelf = Shelf(_task(ns.task, sfts))
    candidate = examine(ModelChoice(ns.model, ns.model, sfts), shelf, None)
    loaded = shelf.get(candidate.choice)
    scores = read_scores(ns.scores, candidate.weights_sha256) if ns.scores else None
    with new_folder(folder, explicit=ns.output_dir is not None) as folder:
        failure = write_export(folder, loaded, candidate, ns.licence, scores, onnx=ns.onnx, arguments=vars(ns))
    print(folder)
    if failure:
        raise SystemExit(f"error: {failure}; {folder} holds everything but {ONNX_FILE}")


def _task(name: str | None, sfts: Sequence[str]) -> Task:
    """The task asked for, else the one a fine-tuning was made for."""
    made_for = [SparseFineTuning.load(sft).metadata.get("task") for sft in sfts]
    known = name or next((task for task in reversed(made_for) if task not in (None, LANGUAGE_TASK)), None)
    if known is None and LANGUAGE_TASK in made_for:
        known = LANGUAGE_TASK
    if known is None:
        raise InputError("--task missing: no fine-tuning says what it was made for, so name it with --task")
    return find_task(known)


def write_export(
    folder: Path,
    loaded: LoadedTaskModel,
    candidate: Candidate,
    licence: str | None,
    scores: Sequence[Score] | None,
    *,
    onnx: bool,
    arguments: dict[str, Any],
) -> OnnxMismatchError | None:
    """Fill `folder` (there, empty) with model, tokenizer, card and `run.json`; what is interrupted leaves nothing.

    Returns:
        Why `model.onnx` is missing although asked for, or None.
    """
    model, tokenizer, choice = loaded.model, loaded.tokenizer, candidate.choice
    tokenizer.model_max_length = min(tokenizer.model_max_length, longest_input(model.config))
    fine_tunings = [sft_facts(sft) for sft in choice.sfts]
    for sft in fine_tunings:
        if sft.metadata.get("max_length") and sft.metadata.get("task") == loaded.task.name:
            setattr(model.config, TRAINED_LENGTH, sft.metadata["max_length"])
    check: OnnxCheck | None = None
    failure: OnnxMismatchError | None = None
    part = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
    try:
        record = RunRecord(part, arguments=arguments)
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        if onnx:
            try:
                check = export_onnx(model, tokenizer, part)
                print(f"{ONNX_FILE}: at most {check.absolute:.1e} from PyTorch ({check.relative:.1e} of the largest)")
            except OnnxMismatchError as error:
                failure = error
        facts = CardFacts(
            folder.resolve().name,
            type(model).__name__,
            loaded.task.name,
            loaded.labels,
            getattr(model.config, TRAINED_LENGTH, None),
            candidate.parameters,
            base_facts(choice.folder),
            fine_tunings,
            licence,
            scores,
            check,
        )
        (part / CARD_FILE).write_text(model_card(facts), encoding="utf-8")
        merged = {"weights_sha256": candidate.weights_sha256, "parameters": candidate.parameters}
        record.update(results={**merged, "onnx": None if check is None else vars(check)})
        record.finish()
        for path in sorted(part.iterdir(), key=lambda path: path.name == RECORD_FILE):  # the record comes last
            os.replace(path, folder / path.name)
        part.rmdir()
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return failure


if __name__ == "__main__":
    raise SystemExit(main())
