"""Find the class that an encoder's configuration names: a bare encoder, or one with the head of a task."""

from __future__ import annotations

from typing import Any

import transformers
from transformers import PretrainedConfig

from bistil_ds.errors import InputError

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
        found = mapping.get(type(config), ())
        for kind in found if isinstance(found, tuple) else (found,):  # Funnel has two bare encoders
            if kind.__name__ == name:
                return kind
    raise InputError(f"{place}: its config.json names the class {name}, which transformers does not have")
