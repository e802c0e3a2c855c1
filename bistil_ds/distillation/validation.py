"""Phase 1's validation: the mean of every loss term on each language's chunks, which the ranks share out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from datasets import Dataset
from torch import nn

from bistil_ds.console.progress import progress_bar
from bistil_ds.distributed.inference import evaluation_engine
from bistil_ds.text.chunks import MultilingualChunks
from bistil_ds.training.base_trainer import BaseTrainer
from bistil_ds.training.meter import TermMeter
from bistil_ds.training.terms import LossTerms

# model, rows, language and number of the global batch → loss terms of the rows
RowTerms = Callable[[nn.Module, Sequence[dict[str, Any]], str, int], LossTerms]


def mean_terms(
    trainer: BaseTrainer, datasets: Mapping[str, Dataset], row_terms: RowTerms
) -> dict[str, dict[str, float]]:
    """Return `{language: {term: mean over the language's chunks}}` for the trainer's model. Every rank takes part."""
    meter = TermMeter()
    with _evaluation_model(trainer) as model, torch.no_grad():
        model.eval()
        for language, dataset in datasets.items():
            _add_language(trainer, model, language, dataset, row_terms, meter)
    return meter.drain()


@contextmanager
def _evaluation_model(trainer: BaseTrainer) -> Iterator[nn.Module]:
    if trainer.model_wrapped is not trainer.model or not trainer.is_deepspeed_enabled:
        yield trainer.model_wrapped
    elif trainer.accelerator.state.deepspeed_plugin.zero_stage < 3:
        yield trainer.model.to(trainer.args.device)  # before training, the model may still be on the CPU
    else:  # before training, there is no engine yet; training will make its own
        with evaluation_engine(trainer) as engine:
            yield engine


def _add_language(
    trainer: BaseTrainer, model: nn.Module, language: str, dataset: Dataset, row_terms: RowTerms, meter: TermMeter
) -> None:
    args = trainer.args
    size, rank, ranks = args.per_device_eval_batch_size, args.process_index, args.world_size
    starts = list(range(0, len(dataset), size))
    rounds = -(-len(starts) // ranks)
    show = rank == 0 and not args.disable_tqdm
    bar = progress_bar(range(rounds), f"validating {language}", show=show, leave=False)
    chunks = MultilingualChunks([dataset])
    for turn in bar:
        mine = turn * ranks + rank
        # ZeRO-3 needs every rank in every forward pass: a rank with no batch left repeats the last one.
        start = starts[min(mine, len(starts) - 1)]
        rows = chunks.__getitems__(range(start, min(start + size, len(dataset))))
        terms = row_terms(model, rows, language, mine)
        meter.add(language, terms.scalars(), weight=len(rows) if mine < len(starts) else 0)
