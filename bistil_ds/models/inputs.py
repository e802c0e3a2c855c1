"""A model's configuration, found by folder or hub id, and the longest input it takes."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, PretrainedConfig

from bistil_ds.errors import InputError


def longest_input(config: PretrainedConfig) -> int:
    """Tokens a model has positions for; RoBERTa's begin behind the padding id."""
    return int(config.max_position_embeddings - (config.pad_token_id + 1 if "roberta" in config.model_type else 0))


def padding_id(config: PretrainedConfig) -> int:
    """The id that shorter sequences of a batch are filled up with; position ids of RoBERTa-like models depend on it."""
    return int(config.pad_token_id or 0)


def load_config(flag: str, name: str) -> PretrainedConfig:
    """The configuration of the model folder or hub id `name`; an InputError when there is none."""
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # transformers, the hub and json have no common kind
        raise cannot_load(flag, name, error) from None
    return config


def cannot_load(flag: str, name: str, error: Exception) -> InputError:
    """The one line for a model that is not there or not whole."""
    path = Path(name).expanduser()
    if not path.exists() and (path.is_absolute() or name.count("/") != 1 or name.startswith((".", "~"))):
        return InputError(f"{flag} {name}: there is no such folder; give a model folder or a hub id")
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return InputError(f"{flag} {name}: cannot be loaded: {first_line}; give a model folder or a hub id")
