"""Read the files of a request: examples for scores, and texts for calibration.

Shapes: T tokens, W words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bistil_ds.embedding.encoder import SentenceEncoder
from bistil_ds.export.engines.check import model_inputs
from bistil_ds.export.engines.dev_sets import DevSet, read_dev_sets
from bistil_ds.export.engines.request import CALIBRATION, DEV, EngineRequest
from bistil_ds.tasks.models import LoadedTaskModel
from bistil_ds.tasks.words import align
from bistil_ds.text.corpus import corpus_hash
from bistil_ds.text.loading import load_corpus
from bistil_ds.text.options import NO_FLAG, TextOptions
from bistil_ds.text.specification import parse_texts
from bistil_ds.vocabulary.report import sample_texts

CALIBRATION_TEXTS = 300  # of all files together: what NNCF takes by default

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class EngineData:
    """A request with its data: a dev set for each dev file, and batches of one text each for calibration."""

    request: EngineRequest
    dev_sets: Sequence[DevSet] = ()
    calibration: Sequence[Batch] = ()

    def hashes(self) -> dict[str, str | None]:
        """Return the SHA-256 of each file, for the run's record: `LANGUAGE=FILE` → hash; None for a hub data set."""
        parts = [(f"{one.name}={file}", file, DEV) for one in self.dev_sets for file in one.files]
        parts += [(file, file, CALIBRATION) for file in self.request.calibration_files]
        return {word: corpus_hash(file, flag) for word, file, flag in parts}


def read_engine_data(request: EngineRequest, loaded: LoadedTaskModel, max_length: int) -> EngineData:
    """Read all files of a request; texts are cut at `max_length` tokens.

    Raises:
        InputError: a file cannot be read, or has labels that the model does not know.
    """
    texts = calibration_texts(request.calibration_files)
    dev_sets = read_dev_sets(request.dev_files, loaded, max_length)
    return EngineData(request, dev_sets, calibration_batches(texts, loaded, max_length))


def calibration_texts(files: Sequence[str]) -> list[str]:
    """Return about `CALIBRATION_TEXTS` texts, evenly spaced in each file and equally many of each.

    Raises:
        InputError: a file cannot be read or holds no text.
    """
    options, each = TextOptions(CALIBRATION, advice=NO_FLAG), -(-CALIBRATION_TEXTS // max(len(files), 1))
    return [text for file in files for text in sample_texts(load_corpus(*parse_texts(file, options)), each)]


def calibration_batches(texts: Sequence[str], loaded: LoadedTaskModel, max_length: int) -> list[Batch]:
    """Return the inputs of the model for each text: int64 [1, T], and [1, W] for a parser's words.

    A sentence encoder's texts stand behind its prompts, in turn.
    """
    if isinstance(loaded.model, SentenceEncoder):
        prompts = loaded.model.settings.training_prompts
        texts = [prompts[place % len(prompts)] + text for place, text in enumerate(texts)]
    if "word_positions" in model_inputs(loaded.model, loaded.tokenizer):
        rows = [
            {"input_ids": ids, "word_positions": [place for place in first if place >= 0]}
            for ids, first in align([text.split() for text in texts], loaded.tokenizer, max_length)
        ]
    else:
        encoded = loaded.tokenizer(list(texts), truncation=True, max_length=max_length, verbose=False) if texts else {}
        rows = [{"input_ids": ids} for ids in encoded.get("input_ids", ())]
    batches = [{name: torch.tensor([values]) for name, values in row.items()} for row in rows]
    return [{**batch, "attention_mask": torch.ones_like(batch["input_ids"])} for batch in batches]
