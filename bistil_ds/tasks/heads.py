"""Load a pretrained encoder together with the head of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from bistil_ds.distributed.gathering import gathered
from bistil_ds.errors import InputError, blaming
from bistil_ds.models.families import CLASSIFIER
from bistil_ds.models.inputs import load_config, without_dropout
from bistil_ds.models.loading import load_pretrained

# class that loads a model with the head of a task → configuration class of each model type that has such a head
OF_TASKS: dict[Any, Any] = {
    AutoModelForSequenceClassification: MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoModelForTokenClassification: MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    AutoModelForQuestionAnswering: MODEL_FOR_QUESTION_ANSWERING_MAPPING,
}


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
    weights are drawn from torch's random state.

    Some families have a further layer between encoder and head, to which a masked language model lacks the weights: the
    poolers of BERT, GTE and DeBERTa, `dense` of EuroBERT, and, beside an encoder alone, `head` of ModernBERT. If the
    folder lacks such a layer, its weight becomes the identity matrix and not a random one: it must be the same at every
    load, because a sparse fine-tuning stores differences to the model that it started from.

    Args:
        kind: `AutoModelForTokenClassification` or another class with the same `from_pretrained`.
        folder: a model folder or hub id; the model may have any head or none.
        labels: the names of the classes, in the order of the outputs.
        heads: names of the modules of the task's head; a model has one or more of them.
        start: fills each weight matrix of a new head, in place. The default draws from a normal distribution with the
            config's `initializer_range` as standard deviation. Biases are set to 0.
        kwargs: go to `from_pretrained`.

    Raises:
        InputError: transformers has no such class for models of this type, or the folder's weights do not fit the
            encoder that its configuration describes.
    """
    config = load_config("", folder)
    with blaming(str(folder)):
        check_class(kind, config)
    same_labels = [config.id2label[i] for i in sorted(config.id2label)] == list(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: i for i, label in enumerate(labels)}
    if kind is AutoModelForSequenceClassification:  # else transformers guesses a loss, or keeps that of the old head
        config.problem_type = "single_label_classification"
    without_dropout(config)
    model, absent = load_pretrained(kind, folder, config=config, dtype=torch.float32, **kwargs)
    of_head = {name for name in absent if name.partition(".")[0] in heads}
    kept = same_labels and not of_head
    for place in {name.rpartition(".")[0] for name in absent - of_head}:
        if isinstance(layer := model.get_submodule(place), nn.Linear):  # a norm starts as 1 and 0 anyway
            _start(layer, nn.init.eye_)
    if not kept:
        start = start or partial(nn.init.normal_, std=config.initializer_range)
        for head in heads:
            for layer in model.get_submodule(head).modules() if hasattr(model, head) else ():
                if isinstance(layer, nn.Linear):
                    _start(layer, start)
    result: PreTrainedModel = model
    return result


def check_class(kind: Any, config: PretrainedConfig) -> None:
    """Raise InputError if `kind`, a class such as `AutoModelForQuestionAnswering`, has no class for a model type."""
    models = OF_TASKS.get(kind)
    if models is not None and type(config) not in models:
        head = kind.__name__.removeprefix("AutoModelFor")
        raise InputError(
            f"transformers has no {head} class for {config.model_type} models; give a model of another type"
        )


@torch.no_grad()
def _start(layer: nn.Linear, weights: Callable[[Tensor], object]) -> None:
    """Fill a layer's weight matrix with `weights`, and set its bias, if it has one, to 0."""
    with gathered([p for p in (layer.weight, layer.bias) if p is not None], written=True):
        weights(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
