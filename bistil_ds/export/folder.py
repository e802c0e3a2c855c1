"""Write the exported folder: model, tokenizer, card and `run.json`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from bistil_ds.console.terminal import show
from bistil_ds.embedding.encoder import SentenceEncoder
from bistil_ds.embedding.vectors import longest_text
from bistil_ds.errors import InputError
from bistil_ds.export.card import model_card
from bistil_ds.export.card_facts import CardFacts, SentenceFacts, Stated, base_facts, sft_facts
from bistil_ds.export.engines.data import EngineData
from bistil_ds.export.engines.report import EngineReport
from bistil_ds.export.engines.writing import write_engines
from bistil_ds.export.sentence_folder import save_sentence_folder
from bistil_ds.models.inputs import longest_input
from bistil_ds.models.model_card import CARD_FILE
from bistil_ds.models.tokenizer_folder import save_tokenizer, start_with_space
from bistil_ds.runs.folder import UNFINISHED
from bistil_ds.runs.record import RECORD_FILE, RunRecord
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sft.metadata import LANGUAGE_TASK
from bistil_ds.tasks import Task, find_task
from bistil_ds.tasks.candidates import TRAINED_LENGTH, Candidate
from bistil_ds.tasks.models import LoadedTaskModel
from bistil_ds.vocabulary.coverage import measure_coverage


def task_to_export(task: str | Task | None, sfts: Sequence[str]) -> Task:
    """Return the task, or the one of this name; for None, the task of the last fine-tuning that records one.

    A language SFT (sparse fine-tuning for `mlm`) counts only where no other fine-tuning records a task.

    Raises:
        InputError: no task has the name, or `task` is None and no fine-tuning records a task.
    """
    if isinstance(task, Task):
        return task
    made_for = [SparseFineTuning.load(sft).metadata.get("task") for sft in sfts]
    known = task or next((name for name in reversed(made_for) if name not in (None, LANGUAGE_TASK)), None)
    if known is None and LANGUAGE_TASK in made_for:
        known = LANGUAGE_TASK
    if known is None:
        raise InputError("--task missing: no fine-tuning says what it was made for, so name it with --task")
    return find_task(known)


def write_export(
    folder: Path,
    loaded: LoadedTaskModel,
    candidate: Candidate,
    stated: Stated,
    *,
    engines: EngineData,
    arguments: dict[str, Any],
) -> EngineReport | None:
    """Fill an existing empty `folder` with model, tokenizer, files for other engines, card and `run.json`.

    All files are first written into a subfolder and then moved into `folder`, `run.json` last. An error or interruption
    removes the subfolder.

    Returns:
        The report on the engines' files, which names those that were left out; None if no engine was asked for.
    """
    model, tokenizer, choice = loaded.model, loaded.tokenizer, candidate.choice
    tokenizer.model_max_length = min(tokenizer.model_max_length, longest_input(model.config))
    if loaded.task.cuts_words:
        start_with_space(tokenizer)  # so that pipelines, which are given texts, see the tokens of the training
    fine_tunings = [sft_facts(sft) for sft in choice.sfts]
    for sft in fine_tunings:
        if sft.metadata.get("max_length") and sft.metadata.get("task") == loaded.task.name:
            setattr(model.config, TRAINED_LENGTH, sft.metadata["max_length"])
    report: EngineReport | None = None
    part = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
    try:
        record = RunRecord(part, arguments=arguments, data=engines.hashes())
        if isinstance(model, SentenceEncoder):
            save_sentence_folder(model, tokenizer, part)
        else:
            model.save_pretrained(part)
        save_tokenizer(tokenizer, part)
        if engines.request:
            report = write_engines(loaded, engines, part)
            show(report.grid())
        coverage = {language: measure_coverage(texts, tokenizer) for language, texts in stated.samples.items()}
        facts = CardFacts(
            stated.title,
            type(model).__name__,
            loaded.task.name,
            loaded.labels,
            getattr(model.config, TRAINED_LENGTH, None),
            candidate.parameters,
            base_facts(choice.folder),
            fine_tunings,
            stated.licence,
            stated.scores,
            report,
            coverage,
            _sentence_facts(model, tokenizer) if isinstance(model, SentenceEncoder) else None,
        )
        model_card(facts).save(part / CARD_FILE)
        merged = {"weights_sha256": candidate.weights_sha256, "parameters": candidate.parameters}
        record.update(results={**merged, "engines": report and report.record()})
        record.update(results={"samples": {language: vars(found) for language, found in coverage.items()}})
        record.finish()
        for path in sorted(part.iterdir(), key=lambda path: path.name == RECORD_FILE):  # the record comes last
            os.replace(path, folder / path.name)
        part.rmdir()
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return report


def _sentence_facts(model: SentenceEncoder, tokenizer: PreTrainedTokenizerBase) -> SentenceFacts:
    settings = model.settings
    return SentenceFacts(settings, settings.dimension(model.config.hidden_size), longest_text(model, tokenizer))
