"""Load a pretrained encoder together with the head of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from bistil_ds.distributed.gathering import gathered
from bistil_ds.models.families import CLASSIFIER
from bistil_ds.models.inputs import load_config, without_dropout
from bistil_ds.models.loading import load_pretrained


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

    The folder's own head is used if it has the same labels in the same order. Otherwise the head is new, and its
    weights are drawn from torch's random state. If the folder lacks a BERT pooler, the pooler's weight becomes the
    identity matrix and not a random one: the pooler must be the same at every load, because a sparse fine-tuning stores
    differences to the model that it started from.

    Args:
        kind: `AutoModelForTokenClassification` or another class with the same `from_pretrained`.
        folder: a model folder or hub id; the model may have any head or none.
        labels: the names of the classes, in the order of the outputs.
        heads: names of the modules of the task's head.
        start: fills each weight matrix of a new head, in place. The default draws from a normal distribution with the
            config's `initializer_range` as standard deviation. Biases are set to 0.
        kwargs: go to `from_pretrained`.

    Raises:
        InputError: the folder's weights do not fit the encoder that its configuration describes.
    """
    config = load_config("", folder)
    same_labels = [config.id2label[i] for i in sorted(config.id2label)] == list(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: i for i, label in enumerate(labels)}
    without_dropout(config)
    model, absent = load_pretrained(kind, folder, config=config, dtype=torch.float32, **kwargs)
    of_head = {name for name in absent if name.partition(".")[0] in heads}
    kept = same_labels and not of_head
    if absent - of_head:
        _start(model.base_model.pooler.dense, nn.init.eye_)
    if not kept:
        start = start or partial(nn.init.normal_, std=config.initializer_range)
        for layer in (layer for head in heads for layer in model.get_submodule(head).modules()):
            if isinstance(layer, nn.Linear):
                _start(layer, start)
    result: PreTrainedModel = model
    return result


@torch.no_grad()
def _start(layer: nn.Linear, weights: Callable[[Tensor], object]) -> None:
    """Fill a layer's weight matrix with `weights`, and set its bias to 0."""
    with gathered([layer.weight, layer.bias], written=True):
        weights(layer.weight)
        nn.init.zeros_(layer.bias)
