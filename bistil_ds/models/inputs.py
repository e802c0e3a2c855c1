"""A model's configuration: found by folder or hub id, its sizes, the longest input it takes, its dropout."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, PretrainedConfig

from bistil_ds.errors import InputError

SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")


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


def is_encoder(config: PretrainedConfig) -> bool:
    """Whether it is of a Transformer encoder such as BERT or XLM-R, with the sizes that we read."""
    return not config.is_encoder_decoder and all(hasattr(config, size) for size in SIZES)


def feed_forward_width(config: PretrainedConfig) -> int:
    """The width between the two maps of a feed-forward layer."""
    return int(config.intermediate_size)


def without_dropout(config: PretrainedConfig) -> None:
    """Set every dropout probability to 0 (BiStil, section 3: a student has none)."""
    for name, value in config.to_dict().items():
        if "dropout" in name and isinstance(value, float):
            setattr(config, name, 0.0)
