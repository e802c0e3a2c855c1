"""Prepare and run a subject: one model that is measured. Benchmarks start each subject in a process of its own.

In shapes, B is the number of sequences, and T the number of tokens in each.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from bistil_ds.benchmarking.harness.samples import is_stable
from bistil_ds.benchmarking.harness.timing import time_call
from bistil_ds.benchmarking.models.engines import CALIBRATED, Inputs, make_engine
from bistil_ds.benchmarking.models.shapes import load_encoder
from bistil_ds.models.inputs import load_tokenizer

FIRST_ORDINARY_ID = 5  # lowest id of a random token; XLM-R's padding id, 1, would change the positions
WARM_UP_SECONDS = 4.0  # after this time no warm-up call starts; the first call's time does not count
WARM_UP_CALLS = 50  # most calls of a warm-up
LONG_CALL = 0.5  # seconds; longer calls need a shorter warm-up, because a brief disturbance weighs little in them
CALIBRATION_TEXTS = 300  # most sentences on which an int8 engine is calibrated
CALIBRATION_ROWS, CALIBRATION_LENGTH = 8, 32  # random tokens in place of sentences
SHAPES = 3  # batches of text in the warm-up; after so many, torch.compile has a program for every length


@dataclass(frozen=True)
class InputCase:
    """Input and threads: sequences in a batch, tokens in each (None: as many as the text has), and CPU threads."""

    batch: int
    length: int | None
    threads: int


class Subject:
    """A loaded model in an engine, and its input: random tokens without padding, or the sentences given to `use_text`.

    Args:
        folder: an existing folder for this model's files for ONNX Runtime and OpenVINO; the caller deletes it.
    """

    def __init__(self, name: str, engine: str, dtype: str, device: str, folder: str = "") -> None:
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.name, self.engine, self.device, self.folder = name, engine, torch.device(device), Path(folder)
        self.model: PreTrainedModel | None = load_encoder(name, getattr(torch, dtype)).to(self.device)
        self.parameters, self.vocabulary = parameter_counts(self.model), self.model.config.vocab_size
        self.threads = 0
        self.batches: list[Inputs] = []

    def make_engine(self, texts: Sequence[str] = (), max_length: int = CALIBRATION_LENGTH) -> None:
        """Put the model into its engine, once; an engine that needs calibration is calibrated on `texts`.

        Without texts it is calibrated on random tokens, because time does not depend on what the ranges are.
        """
        assert self.model is not None
        samples = self._samples(texts, max_length) if self.engine in CALIBRATED else []
        self.made, self.model = make_engine(self.model, self.engine, self.folder, samples), None

    def describe(self) -> dict[str, Any]:
        """Return `parameters` (their number in the model, embeddings and layers) and the engine's `disk_bytes`."""
        return {"parameters": self.parameters, "disk_bytes": self.made.disk_bytes}

    def _samples(self, texts: Sequence[str], max_length: int) -> list[Inputs]:
        if not texts:
            return [random_inputs(self.vocabulary, CALIBRATION_ROWS, CALIBRATION_LENGTH, self.device)]
        tokenizer = load_tokenizer("--model", self.name)
        return [self._tokenise(tokenizer, [text], max_length) for text in texts[:CALIBRATION_TEXTS]]

    def _tokenise(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int) -> Inputs:
        found = tokenizer(list(texts), truncation=True, max_length=max_length, padding=True, return_tensors="pt")
        return {name: found[name].to(self.device) for name in ("input_ids", "attention_mask")}

    def use_text(self, batches: Sequence[Sequence[str]], max_length: int) -> dict[str, Any]:
        """Use batches of sentences as inputs from now on.

        Returns:
            `seconds`, how long the tokenizer took for each batch; `tokens`, how many tokens of each batch are not
            padding.
        """
        tokenizer = load_tokenizer("--model", self.name)
        seconds, self.batches = [], []
        for texts in batches:
            start = time.perf_counter()
            found = self._tokenise(tokenizer, texts, max_length)
            seconds.append(time.perf_counter() - start)
            self.batches.append(found)
        return {"seconds": seconds, "tokens": [int(one["attention_mask"].sum()) for one in self.batches]}

    def prepare(self, case: InputCase) -> dict[str, Any]:
        """Set threads and input as `case` says, then warm up: run until calls take a steady time or a limit is reached.

        Returns:
            `calls`, the number of timed calls; `stable`, whether their time became steady; `seconds`, the time of the
            fastest of the last three.
        """
        if case.threads != self.threads:
            self.run = self.made.start(case.threads)
            self.threads = case.threads
        if case.length is not None:
            self.batches = [random_inputs(self.vocabulary, case.batch, case.length, self.device)]
        for other in self.batches[1:SHAPES]:  # other lengths, for which the model may be compiled again
            self.run(other)
        seconds = [self._timed(0)]  # may compile, so it does not count towards WARM_UP_SECONDS
        started = time.perf_counter()
        while not is_steady(seconds) and len(seconds) < WARM_UP_CALLS:
            if len(seconds) >= 2 and time.perf_counter() - started > WARM_UP_SECONDS:
                break
            seconds.append(self._timed(0))
        return {"calls": len(seconds), "stable": is_steady(seconds), "seconds": min(seconds[-3:])}

    def turn(self, calls: int, untimed: int, batch: int = 0) -> list[float]:
        """Run `untimed` calls to fill the caches, then time `calls` more; return their seconds. All use one batch."""
        for _ in range(untimed):
            self._timed(batch)
        return [self._timed(batch) for _ in range(calls)]

    def run_for(self, seconds: float) -> int:
        """Run call after call until `seconds` have passed; return the number of calls."""
        calls, stop = 0, time.perf_counter() + seconds
        while time.perf_counter() < stop:
            self._timed(calls)
            calls += 1
        return calls

    def _timed(self, batch: int) -> float:
        inputs = self.batches[batch % len(self.batches)]
        return time_call(lambda: self.run(inputs), self.device)


def is_steady(seconds: Sequence[float]) -> bool:
    """Return whether the last three calls took as long as the three before them.

    If the last call was longer than LONG_CALL, it is enough that the last two calls took equally long.
    """
    return is_stable(seconds) or (seconds[-1] > LONG_CALL and is_stable(seconds, window=1))


def random_inputs(vocabulary: int, batch: int, length: int, device: torch.device) -> Inputs:
    """Return random `input_ids` and an `attention_mask` of ones, int64 [B, T]; the ids are the same at every call."""
    generator = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(FIRST_ORDINARY_ID, vocabulary - 1, (batch, length), generator=generator)
    return {"input_ids": ids_BT.to(device), "attention_mask": torch.ones_like(ids_BT).to(device)}


def parameter_counts(model: torch.nn.Module) -> dict[str, int]:
    """Count all parameters, those of the embeddings (words, positions, types and their norm), and the rest."""
    total = sum(p.numel() for p in model.parameters())
    found = getattr(model, "embeddings", None)
    tables = [found] if found is not None else [m for m in model.modules() if isinstance(m, torch.nn.Embedding)]
    embeddings = sum(p.numel() for table in tables for p in table.parameters())
    return {"parameters": total, "embedding_parameters": embeddings, "encoder_parameters": total - embeddings}
