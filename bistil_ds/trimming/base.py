"""The model that is trimmed: its files, configuration and tokenizer, checked before any weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.errors import InputError
from bistil_ds.models.families import positions_after_padding
from bistil_ds.models.inputs import load_config, load_tokenizer
from bistil_ds.models.loading import load_pretrained
from bistil_ds.models.remote_code import check_native
from bistil_ds.models.sentence_folder import SentenceFolder, find_sentence_folder
from bistil_ds.models.weight_files import hash_weights
from bistil_ds.trimming.checks import check_shapes, check_states
from bistil_ds.trimming.own_class import own_class
from bistil_ds.vocabulary.pieces import Pieces, read_pieces

FLAG = "--model"


@dataclass(frozen=True)
class Base:
    """A model to trim, without its weights.

    Attributes:
        name: hub id, or absolute path of its folder.
        inner: folder or hub id of what transformers loads; in some sentence-transformers folders it is a subfolder.
        sentence: the sentence-transformers folder that the model is; None if it is none.
        config, tokenizer: as they are in `inner`.
        pieces: the tokenizer's vocabulary.
        keep_padding_id: whether the padding id must not change, because the model numbers positions from it.
    """

    name: str
    inner: str
    sentence: SentenceFolder | None
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase
    pieces: Pieces
    keep_padding_id: bool

    @property
    def place(self) -> str:
        """Return the path inside of a whole folder where the Transformer lies; "" if it is that folder."""
        return self.sentence.transformer if self.sentence else ""

    def load(self) -> LoadedBase:
        """Load the model as its own class and in its own precision, in eval mode.

        Raises:
            InputError: it cannot be loaded, a weight of its encoder is missing, or it gives no states of texts.
        """
        model, absent = load_pretrained(own_class(self.config, ""), self.inner, flag=FLAG, dtype="auto")
        check_states(model, f"{FLAG} {self.name}")
        return LoadedBase(model, frozenset(absent))


@dataclass(frozen=True)
class LoadedBase:
    """A loaded model, and the names of the weights that its folder lacks (heads and poolers, which are random)."""

    model: PreTrainedModel
    absent: frozenset[str]

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 (hex) of the weights that the folder holds."""
        return hash_weights(saved(self.model, self.absent))


def saved(model: PreTrainedModel, absent: frozenset[str]) -> Mapping[str, torch.Tensor]:
    """Return the weights of a model that belong into its folder, by name; tied ones once."""
    tied = getattr(model, "all_tied_weights_keys", {})  # the names save_pretrained leaves out
    return {name: value for name, value in model.state_dict().items() if name not in absent and name not in tied}


def open_base(model: str) -> Base:
    """Read configuration and tokenizer of the model to trim.

    Raises:
        InputError: it cannot be loaded, needs code of its own, is no encoder of transformers, has no fast tokenizer or
            one of a kind that cannot be trimmed, is of such a kind itself, or its embeddings have fewer rows than the
            tokenizer has ids.
    """
    place, sentence = f"{FLAG} {model}", find_sentence_folder(model, FLAG)
    inner = str(sentence.folder / sentence.transformer) if sentence and sentence.transformer else model
    config = load_config(FLAG, inner)
    check_native(config, place)
    check_shapes(own_class(config, place), config, place)
    tokenizer = load_tokenizer(FLAG, inner)
    keep_padding_id = positions_after_padding(config.model_type)
    try:
        pieces = read_pieces(tokenizer, keep_padding_id=keep_padding_id)
    except InputError as error:  # the message begins with the folder
        raise InputError(f"{FLAG} {error}") from None
    if pieces.rows > config.vocab_size:
        raise InputError(f"{place}: its tokenizer has {pieces.rows} ids, its embeddings only {config.vocab_size} rows")
    name = str(Path(model).resolve()) if Path(model).exists() else model
    return Base(name, inner, sentence, config, tokenizer, pieces, keep_padding_id)
