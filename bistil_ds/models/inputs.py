"""Load a model's configuration and tokenizer; find its longest input and padding id; turn dropout off."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import transformers
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)

from bistil_ds.console.user_path import user_path
from bistil_ds.errors import InputError, Notice
from bistil_ds.models.config_file import check_config_file, check_tokenizer_files
from bistil_ds.models.families import FAMILIES, positions_after_padding
from bistil_ds.models.hub_folder import split_revision
from bistil_ds.models.remote_code import native_of

TOKEN_TYPES = "token_type_ids"
PANIC = "PanicException"  # what tokenizers raises where its code in Rust fails; it is no Exception
READ = (".json", ".safetensors", ".bin", ".model", "vocab.txt", "merges.txt")  # ends of the names of files to load
PROBE = "a ☃ \U0010fffd"  # a damaged tokenizer may lack the token for characters that it does not know
SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")


def longest_input(config: PretrainedConfig) -> int:
    """Return how many tokens a model has positions for.

    Some families do not use the positions up to the padding id.
    """
    unused = padding_id(config) + 1 if positions_after_padding(config.model_type) else 0
    return int(config.max_position_embeddings - unused)


def padding_id(config: PretrainedConfig) -> int:
    """Return the id that fills up the shorter sequences of a batch; 0 if the configuration names none.

    RoBERTa-like models compute position ids from this id.
    """
    return int(config.pad_token_id or 0)


def load_config(flag: str, name: str | Path, **changes: Any) -> PretrainedConfig:
    """Load the configuration of the model folder or hub id `name`, with `changes` to its values.

    Raises:
        InputError: the configuration cannot be loaded, or has sizes that no model has; the message names `flag`.
    """
    check_config_file(name, flag)
    place, revision = split_revision(name)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            place, revision=revision, trust_remote_code=False, **changes
        )
    except Exception as error:  # errors of transformers, the hub and json have no common class
        raise cannot_load(flag, str(name), error) from None
    return config


def load_tokenizer(flag: str, name: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of the model folder or hub id `name`.

    The tokenizer's `model_input_names` have `token_type_ids` only if the model beside it takes several types.

    Raises:
        InputError: the tokenizer cannot be loaded or cuts no text, or the folder has none; the message names `flag`.
    """
    check_tokenizer_files(name, flag)
    place, revision = split_revision(name)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            place, revision=revision, trust_remote_code=False
        )
        _probe(tokenizer)
    except BaseException as error:  # errors of transformers, tokenizers, the hub and json have no common class
        if not isinstance(error, Exception) and type(error).__name__ != PANIC:
            raise
        raise cannot_load(flag, str(name), error) from None
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):  # without a file, transformers makes an empty tokenizer
        raise InputError(f"{flag} {name}: holds no tokenizer; add its tokenizer.json".lstrip())
    _name_token_types(tokenizer, name)
    return tokenizer


def _probe(tokenizer: PreTrainedTokenizerBase) -> None:
    """Let a tokenizer cut a text, and leave its settings as they are; raise what it raises."""
    if tokenizer.is_fast:
        tokenizer.backend_tokenizer.encode(PROBE, add_special_tokens=False)  # called, it would lose its settings
    else:
        tokenizer(PROBE, add_special_tokens=False)


def _name_token_types(tokenizer: PreTrainedTokenizerBase, name: str | Path) -> None:
    """Let `model_input_names` have `token_type_ids` if the model tells them apart and the tokenizer gives several.

    Without a configuration of the model, the names stay as they are.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Notice)  # whoever loads the model gets them
            config = load_config("", name)
    except InputError:
        return
    told_apart = int(getattr(config, "type_vocab_size", 0) or 0) > 1
    others = [one for one in tokenizer.model_input_names if one != TOKEN_TYPES]
    if not told_apart:
        tokenizer.model_input_names = others
    elif others == tokenizer.model_input_names and any(_types_of_a_pair(tokenizer)):
        tokenizer.model_input_names = [*others, TOKEN_TYPES]


def _types_of_a_pair(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token types of two texts; leave the tokenizer's settings as they are."""
    if tokenizer.is_fast:
        types: list[int] = tokenizer.backend_tokenizer.encode("a", "b").type_ids
        return types
    return list(tokenizer("a", "b", return_token_type_ids=True)[TOKEN_TYPES])


def cannot_load(flag: str, name: str, error: BaseException) -> InputError:
    """Return the one-line error for a model that does not exist or is damaged."""
    path, place = user_path(name), f"{flag} {name}".lstrip()
    local = path.is_absolute() or split_revision(name)[0].count("/") != 1 or name.startswith((".", "~"))
    if local and not path.exists():
        return InputError(f"{place}: there is no such folder; give a model folder or a hub id")
    if local and (closed := next((one for one in path.glob("*") if _is_closed(one)), None)):
        return InputError(f"{closed}: cannot be read (Permission denied); ask its owner for the right to")
    if "trust_remote_code" in str(error):
        native = native_of(str(error))
        return InputError(f"{place}: needs code of its own (auto_map), which is never run; give {native}")
    if known := next((kind for kind in FAMILIES if f"`{kind}`" in str(error)), None):
        return InputError(
            f"{place}: transformers {transformers.__version__} does not know {known} models; install "
            f"{FAMILIES[known].since} or newer"
        )
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = " ".join(" ".join(lines[: 2 if lines[0].endswith(":") else 1]).split())[:200]
    return InputError(f"{place}: cannot be loaded: {reason}; give a model folder or a hub id")


def _is_closed(path: Path) -> bool:
    """Return whether a path is a file that models and tokenizers are loaded from, and this user may not read it."""
    return path.name.endswith(READ) and not os.access(path, os.R_OK)


def is_encoder(config: PretrainedConfig) -> bool:
    """Return whether `config` describes an encoder with all `SIZES`, as BERT and XLM-R are.

    A decoder such as Llama is excluded, because transformers has no masked language model for it. Encoder-decoder
    models are excluded too.
    """
    is_masked_lm = type(config) in MODEL_FOR_MASKED_LM_MAPPING
    return is_masked_lm and not config.is_encoder_decoder and all(hasattr(config, size) for size in SIZES)


def feed_forward_width(config: PretrainedConfig) -> int:
    """Return the width between the two linear modules of a feed-forward layer."""
    return int(config.intermediate_size)


def without_dropout(config: PretrainedConfig) -> None:
    """Set every dropout probability to 0 (BiStil, section 3: a student has none)."""
    for name, value in config.to_dict().items():
        if "dropout" in name and isinstance(value, float):
            setattr(config, name, 0.0)
