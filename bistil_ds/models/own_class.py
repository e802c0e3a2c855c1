"""Load an encoder as the class that its configuration names: a bare encoder, or one with the head of a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from transformers import PretrainedConfig, PreTrainedModel

from bistil_ds.errors import InputError
from bistil_ds.models.inputs import cannot_load
from bistil_ds.models.loading import load_pretrained

MAPPINGS = (
    transformers.MODEL_MAPPING,
    transformers.MODEL_FOR_PRETRAINING_MAPPING,
    transformers.MODEL_FOR_MASKED_LM_MAPPING,
    transformers.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    transformers.MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    transformers.MODEL_FOR_MULTIPLE_CHOICE_MAPPING,
    transformers.MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING,
)


def own_class(config: PretrainedConfig, place: str) -> Any:
    """Return the class of transformers that a configuration names in `architectures`.

    Args:
        place: the model, for messages.

    Raises:
        InputError: the model is no encoder, or its class is none of transformers'.
    """
    masked = type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING  # no decoder alone is
    if not masked or config.is_encoder_decoder or getattr(config, "is_decoder", False):
        raise InputError(f"{place}: is a model of type {config.model_type!r}, no encoder; give an encoder")
    if not config.architectures:
        raise InputError(f'{place}: its config.json names no class; add one, such as "architectures": ["BertModel"]')
    name = config.architectures[0]
    for mapping in MAPPINGS:
        kind = mapping.get(type(config), None)
        if kind is not None and kind.__name__ == name:
            return kind
    raise InputError(f"{place}: its config.json names the class {name}, which transformers does not have")


def load_own_class(folder: str | Path, config: PretrainedConfig, flag: str) -> tuple[PreTrainedModel, set[str]]:
    """Return the model in a folder or of a hub id, as its own class and in its own precision, in eval mode.

    Returns:
        The model, and the names of weights that the folder lacks, all of them of heads and poolers; their values are
        random.

    Raises:
        InputError: the model cannot be loaded, or a weight of its encoder is missing.
    """
    kind = own_class(config, f"{flag} {folder}".strip())
    try:
        return load_pretrained(kind, folder, flag=flag, dtype="auto")
    except InputError:
        raise
    except Exception as error:  # transformers, safetensors, pickle and the hub have no common error class
        raise cannot_load(flag, str(folder), error) from None
