"""Load a model's configuration and read its sizes, its longest input and its padding id; turn its dropout off."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, PretrainedConfig

from bistil_ds.errors import InputError

SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")


def longest_input(config: PretrainedConfig) -> int:
    """Return how many tokens a model has positions for; RoBERTa's positions begin after the padding id."""
    return int(config.max_position_embeddings - (config.pad_token_id + 1 if "roberta" in config.model_type else 0))


def padding_id(config: PretrainedConfig) -> int:
    """Return the id that fills up the shorter sequences of a batch; 0 if the configuration names none.

    RoBERTa-like models compute position ids from this id.
    """
    return int(config.pad_token_id or 0)


def load_config(flag: str, name: str) -> PretrainedConfig:
    """Load the configuration of the model folder or hub id `name`.

    Raises:
        InputError: it cannot be loaded; the message names `flag`.
    """
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # errors of transformers, the hub and json have no common class
        raise cannot_load(flag, name, error) from None
    return config


def cannot_load(flag: str, name: str, error: Exception) -> InputError:
    """Return the one-line error for a model that does not exist or is damaged."""
    path = Path(name).expanduser()
    if not path.exists() and (path.is_absolute() or name.count("/") != 1 or name.startswith((".", "~"))):
        return InputError(f"{flag} {name}: there is no such folder; give a model folder or a hub id")
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return InputError(f"{flag} {name}: cannot be loaded: {first_line}; give a model folder or a hub id")


def is_encoder(config: PretrainedConfig) -> bool:
    """Return whether `config` has all `SIZES`, as BERT and XLM-R do, and describes no encoder-decoder model."""
    return not config.is_encoder_decoder and all(hasattr(config, size) for size in SIZES)


def feed_forward_width(config: PretrainedConfig) -> int:
    """Return the width between the two linear modules of a feed-forward layer."""
    return int(config.intermediate_size)


def without_dropout(config: PretrainedConfig) -> None:
    """Set every dropout probability to 0 (BiStil, section 3: a student has none)."""
    for name, value in config.to_dict().items():
        if "dropout" in name and isinstance(value, float):
            setattr(config, name, 0.0)
