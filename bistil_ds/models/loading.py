"""Load a pretrained model and check that its encoder is whole: no weight missing, left over or of another shape.

If a folder lacks weights, transformers initialises them. If a folder has weights for which the model has no place,
transformers drops them. It merely lists both in a table. Here, both are errors if the weight belongs to the encoder.
Heads and poolers may differ, because tasks bring their own; a `Notice` then names them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.errors import InputError, Notice
from bistil_ds.models.config_file import check_config_file, check_weight_files
from bistil_ds.models.inputs import cannot_load, load_tokenizer

POOLER = "pooler"


def load_pretrained(kind: Any, folder: str | Path, *, flag: str = "", **kwargs: Any) -> tuple[Any, set[str]]:
    """Load the model in `folder`, and check that its encoder has exactly the weights that its configuration describes.

    Args:
        kind: `AutoModelForMaskedLM` or another class with the same `from_pretrained`.
        folder: a model folder or hub id.
        flag: the command-line flag that named the folder, for messages.
        kwargs: arguments of `from_pretrained`; code that the folder names is never run.

    Returns:
        The model, and the names of those weights that the folder lacks or has in another shape. They are newly
        initialised, and all of them belong to heads or poolers.

    Raises:
        InputError: a weight of the encoder is missing, left over or of another shape; the message names it.
            `check_config_file` and `check_weight_files` raise it too.
    """
    check_config_file(folder, flag)
    check_weight_files(folder, flag)
    kwargs["trust_remote_code"] = False
    with no_load_report():
        model, info = kind.from_pretrained(folder, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs)
    place = f"{flag} {folder}".strip()
    missing, left_over = set(info["missing_keys"]), set(info["unexpected_keys"])
    shapes = {name: (tuple(found), tuple(expected)) for name, found, expected in info["mismatched_keys"]}
    for names, what in (
        (missing, "lacks the encoder's weight {}; give a whole model's folder"),
        (left_over, "holds the weight {} that an encoder of its config.json does not have; correct config.json"),
        (set(shapes), "holds the weight {} in another shape than its config.json says; correct config.json"),
    ):
        if wrong := sorted(name for name in names if in_encoder(model, name)):
            size = " of shape {}, not {},".format(*shapes[wrong[0]]) if names == set(shapes) else ""
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise InputError(f"{place}: {what.format(wrong[0] + size + more)}")
    absent = missing | set(shapes)
    if said := _differences(model, absent, left_over):
        warnings.warn(f"{place}: {said}", Notice, stacklevel=2)
    return model, absent


def load_masked_lm(folder: str | Path, flag: str = "") -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the masked language model in `folder`, a folder or hub id, in fp32, and its tokenizer.

    Raises:
        InputError: model or tokenizer is missing or cannot be loaded, weights are missing, or the tokenizer has more
            tokens than the embeddings have rows.
    """
    place = f"{flag} {folder}".strip()
    try:
        model, absent = load_pretrained(AutoModelForMaskedLM, folder, flag=flag, dtype=torch.float32)
        tokenizer = load_tokenizer(flag, folder)
    except InputError:
        raise
    except Exception as error:  # transformers, safetensors, pickle and the hub have no common error class
        raise cannot_load(flag, str(folder), error) from None
    if absent:
        raise InputError(f"{place}: lacks weights of a masked language model, such as {min(absent)}")
    if len(tokenizer) > model.config.vocab_size:
        size = model.config.vocab_size
        raise InputError(f"{place}: its tokenizer has {len(tokenizer)} tokens, its embeddings {size}")
    return model, tokenizer


def in_encoder(model: PreTrainedModel, name: str) -> bool:
    """Return whether a weight belongs to the model's encoder: neither to a head nor to a pooler.

    `name` may be spelled as in the whole model or as in the encoder alone.
    """
    prefix = f"{model.base_model_prefix}."
    first = name.removeprefix(prefix).partition(".")[0]
    return first != POOLER and (name.startswith(prefix) or first in dict(model.base_model.named_children()))


def _differences(model: PreTrainedModel, absent: Iterable[str], left_over: Iterable[str]) -> str:
    """Return a line that names the heads and poolers that the folder lacks, and those that the model lacks."""
    prefix = f"{model.base_model_prefix}."
    lacks, unused = (
        ", ".join(sorted({name.removeprefix(prefix).partition(".")[0] for name in names}))
        for names in (absent, left_over)
    )
    return "; ".join([f"has no {lacks}"] * bool(lacks) + [f"its {unused} is not used"] * bool(unused))


@contextmanager
def no_load_report() -> Iterator[None]:
    """Suppress the table in which transformers lists the weights that a folder lacks and those that were dropped."""

    def wanted(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)
