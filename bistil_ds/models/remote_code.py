"""Refuse models that need code of their own, and name a repository whose model runs with transformers' own code."""

from __future__ import annotations

from transformers import PretrainedConfig

from bistil_ds.errors import InputError
from bistil_ds.models.families import FAMILIES

# part of the `auto_map` of an original repository → repository with the same model for transformers' own classes
NATIVE = {
    "new-impl": "alibaba-nlp-community/gte-multilingual-base",
    "xlm-roberta-flash-implementation": "jinaai/jina-embeddings-v3-hf",
}


def check_native(config: PretrainedConfig, place: str) -> None:
    """Raise InputError if the configuration names code of its own (`auto_map`); the message starts with `place`.

    With these weights, transformers' own class of the same model type would compute something else. A model passes if
    transformers has taken over the code of its family.
    """
    code = getattr(config, "auto_map", None)
    family = FAMILIES.get(config.model_type)
    if code and not (family is not None and family.remote_code_is_native):
        raise InputError(f"{place}: needs code of its own (auto_map), which is never run; give {native_of(str(code))}")


def native_of(text: str) -> str:
    """Return the repository to use instead of a refused one.

    Args:
        text: the refused repository's `auto_map`, or an error message that quotes it.
    """
    return next((name for code, name in NATIVE.items() if code in text), "another model")
