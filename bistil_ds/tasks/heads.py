"""Load a pretrained encoder together with the head of a task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel

from bistil_ds.distributed.gathering import gathered
from bistil_ds.errors import InputError
from bistil_ds.models.families import CLASSIFIER
from bistil_ds.models.inputs import without_dropout


def load_classifier(
    kind: Any,
    folder: str | Path,
    labels: Sequence[str],
    *,
    heads: Sequence[str] = (CLASSIFIER,),
    start: Callable[[Tensor], object] | None = None,
    **kwargs: Any,
) -> PreTrainedModel:
    """Load the model in `folder` with a head for `labels`, in fp32 and without dropout.

    The folder's own head is used if it has one for the same labels in the same order. Otherwise the head is new and
    its weights come from torch's random state. If the folder lacks a BERT pooler, the pooler's weight is the identity:
    a sparse fine-tuning stores differences to the model it started from, so that model must be the same at every load.

    Args:
        kind: `AutoModelForTokenClassification` or another class with its `from_pretrained`.
        folder: a model folder or hub id, with any head or none.
        labels: the names of the classes, in the order of the outputs.
        heads: names of the modules of the task's head.
        start: fills the weight matrices of a new head; by default it draws from a normal distribution with the
            `initializer_range` of the encoder's config.
        kwargs: go to `from_pretrained`.

    Raises:
        InputError: the folder lacks weights of the encoder that its configuration describes.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    same_labels = [config.id2label[i] for i in sorted(config.id2label)] == list(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: i for i, label in enumerate(labels)}
    without_dropout(config)
    with no_load_report():
        model, info = kind.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # a head for other labels is replaced below
            output_loading_info=True,
            **kwargs,
        )
    pooler = f"{model.base_model_prefix}.pooler."
    lost = {name for name in info["missing_keys"] if name.partition(".")[0] not in heads}
    kept = same_labels and len(lost) == len(info["missing_keys"])
    if encoder := sorted(name for name in lost if not name.startswith(pooler)):
        raise InputError(
            f"{folder}: has no weights for {encoder[0]} ({len(encoder)} such); give a whole model's folder"
        )
    if lost:
        _start(model.base_model.pooler.dense, nn.init.eye_)
    if not kept:
        start = start or partial(nn.init.normal_, std=config.initializer_range)
        for layer in (layer for head in heads for layer in model.get_submodule(head).modules()):
            if isinstance(layer, nn.Linear):
                _start(layer, start)
    result: PreTrainedModel = model
    return result


@contextmanager
def no_load_report() -> Iterator[None]:
    """Suppress the table in which transformers lists unused and new weights; here both are intended."""

    def wanted(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)


@torch.no_grad()
def _start(layer: nn.Linear, weights: Callable[[Tensor], object]) -> None:
    """Fill a layer's weights with an initialisation, and set its bias to 0."""
    with gathered([layer.weight, layer.bias], written=True):
        weights(layer.weight)
        nn.init.zeros_(layer.bias)
