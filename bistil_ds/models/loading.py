"""Load a pretrained model and check that its encoder is whole: no weight missing, left over or of another shape.

If a folder lacks weights, transformers initialises them. If a folder has weights for which the model has no place,
transformers drops them. It merely lists both in a table. Here, both are errors if the weight belongs to the encoder.
Heads and poolers may differ, because tasks bring their own; a `Notice` then names them.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForMaskedLM, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.errors import InputError, Notice, blaming
from bistil_ds.models.config_file import check_config_file, check_weight_files
from bistil_ds.models.families import FAMILIES, POOLER, check_supported, positions_after_padding
from bistil_ds.models.hub_folder import split_revision
from bistil_ds.models.inputs import cannot_load, load_config, load_tokenizer
from bistil_ds.models.parameters import save_under_own_names
from bistil_ds.models.remote_code import check_native
from bistil_ds.models.sentence_folder import transformer_folder
from bistil_ds.models.transformers_4 import keep_readable


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
        InputError: the model cannot be loaded, or a weight of the encoder is missing, left over or of another shape;
            the message names it. `check_config_file` and `check_weight_files` raise it too.
    """
    check_config_file(folder, flag)
    check_weight_files(folder, flag)
    _say_if_pickled(folder, flag)
    family = FAMILIES.get((kwargs.get("config") or load_config(flag, folder)).model_type)
    if family is not None and family.first_names:
        kwargs["key_mapping"] = dict(family.first_names)
    name, kwargs["revision"] = split_revision(folder)
    kwargs["trust_remote_code"] = False
    try:
        with no_load_report():
            model, info = kind.from_pretrained(name, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs)
    except Exception as error:  # transformers, safetensors, pickle and the hub have no common error class
        raise cannot_load(flag, str(folder), error) from None
    save_under_own_names(model)
    keep_readable(model.config)
    if hasattr(model.config, "auto_map"):  # what is made of this model needs no such code, and must not lead to it
        del model.config.auto_map
    place = f"{flag} {folder}".strip()
    missing, left_over = set(info["missing_keys"]), set(info["unexpected_keys"])
    if family is not None:
        left_over = {name for name in left_over if not any(re.search(unread, name) for unread in family.unread)}
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
    if said := _differences(model, absent if model.base_model is not model else (), left_over):
        warnings.warn(f"{place}: {said}", Notice, stacklevel=2)
    return model, absent


def is_masked_lm(config: PretrainedConfig) -> bool:
    """Return whether a model folder with this configuration holds a masked-LM head.

    A configuration that does not name its model class counts as one with such a head.
    """
    kinds = config.architectures or ["ForMaskedLM"]
    return any("ForMaskedLM" in kind or "ForPreTraining" in kind for kind in kinds)


def load_language_model(folder: str | Path, flag: str = "", **kwargs: Any) -> PreTrainedModel:
    """Load the model in `folder` as a masked language model; without a masked-LM head, as an encoder without a head.

    Any other head is dropped. A folder whose configuration names no model class, and which lacks weights of such a
    head, counts as an encoder without one. If the folder of an encoder has no pooler, the encoder gets none, whereas
    transformers would add a random one.

    Raises:
        InputError: the model cannot be loaded, or lacks weights of its encoder or masked-LM head.
    """
    config = load_config(flag, folder)
    with_head = is_masked_lm(config)
    model, absent = load_pretrained(AutoModelForMaskedLM if with_head else AutoModel, folder, flag=flag, **kwargs)
    if with_head and absent and not config.architectures:
        with_head = False
        model, absent = load_pretrained(AutoModel, folder, flag=flag, **kwargs)
    if with_head and absent:
        raise InputError(f"{flag} {folder}: lacks weights of a masked language model, such as {min(absent)}".lstrip())
    if absent:
        model.pooler = None
    result: PreTrainedModel = model
    return result


def load_teacher(folder: str | Path, flag: str = "") -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model in `folder`, a folder or hub id, in fp32, and its tokenizer.

    In a folder of sentence-transformers, the model may lie in a sub-folder.

    The model is a masked language model or an encoder without a head, such as a sentence encoder. The head of a
    classifier or tagger is dropped. If the tokenizer's padding id differs from the configuration's, the configuration
    gets the tokenizer's, except in families whose positions start after the padding id.

    Raises:
        InputError: model or tokenizer cannot be loaded or is missing, the model type is not supported, weights are
            missing, or the tokenizer does not fit the model.
    """
    place = f"{flag} {folder}".strip()
    folder = transformer_folder(folder, flag)
    config = load_config(flag, folder)
    check_native(config, place)
    with blaming(place):
        check_supported(config)
    model = load_language_model(folder, flag, dtype=torch.float32)
    tokenizer = load_tokenizer(flag, folder)
    if len(tokenizer) > (size := model.get_input_embeddings().weight.shape[0]):
        raise InputError(f"{place}: its tokenizer has {len(tokenizer)} tokens, its embeddings {size}")
    padding = tokenizer.pad_token_id
    if padding is not None and padding != model.config.pad_token_id and not positions_after_padding(config.model_type):
        model.config.pad_token_id = padding
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


def _say_if_pickled(folder: str | Path, flag: str) -> None:
    path = Path(folder)
    if any(path.glob("*.bin")) and not any(path.glob("*.safetensors")):
        said = "has no safetensors file; its pickled weights are read as weights only, so no code runs"
        warnings.warn(f"{flag} {folder}: {said}".lstrip(), Notice, stacklevel=3)


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
