"""Check that a model can be trimmed, before any text is counted."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedModel

from bistil_ds.errors import InputError
from bistil_ds.trimming.agreement import hidden_states
from bistil_ds.vocabulary.embeddings import trim_model

PROBES = [[0], [0, 0, 0]]  # ids of two texts, one of which is padded


def check_shapes(kind: Any, config: PretrainedConfig, place: str) -> None:
    """Check that all parameters with a row for each token are among those that `trim_model` trims.

    It gives a model without values one row more; a new model of the changed configuration must have the same shapes.

    Args:
        kind: the model's class.
        place: the model, for messages.

    Raises:
        InputError: a shape differs, or the model's embeddings are none of torch's.
    """
    with torch.device("meta"):
        model = kind(copy.deepcopy(config))
        try:
            rows = model.get_input_embeddings().weight.shape[0]
            trim_model(model, np.arange(rows), rows=rows + 1)
            found, expected = _shapes(model), _shapes(kind(model.config))
        except Exception as error:  # whatever other embeddings than torch's raise
            raise _untrimmable(config, place, f"{type(error).__name__}: {error}") from None
    if wrong := sorted(name for name in expected if found.get(name) != expected[name]):
        raise _untrimmable(config, place, f"{wrong[0]} would not have the shape that its config.json gives")


def check_states(model: PreTrainedModel, place: str) -> None:
    """Check that the model, in eval mode, gives a hidden state for each token of texts.

    Raises:
        InputError: it does not.
    """
    try:
        hidden_states(model, PROBES)
    except Exception as error:  # model code has no error class of its own
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{place}: gives no hidden state for each token of a text ({type(error).__name__}: {reason}); give an "
            "encoder that needs nothing else"
        ) from None


def _shapes(model: PreTrainedModel) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _untrimmable(config: PretrainedConfig, place: str, reason: str) -> InputError:
    return InputError(
        f"{place}: models of type {config.model_type!r} cannot be trimmed ({' '.join(reason.split())[:200]}); give "
        "another encoder"
    )
