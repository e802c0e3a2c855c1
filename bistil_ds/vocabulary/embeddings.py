"""Trim those parameters of a masked language model that have a row for each token.

These are the word embeddings, and the output layer's weight and bias.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from huggingface_hub.errors import StrictDataclassFieldValidationError
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from bistil_ds.errors import InputError
from bistil_ds.models.families import positions_after_padding
from bistil_ds.vocabulary.kept_ids import Ids, check_kept_ids

UNLIKELY = -10_000.0  # the bias of a row without a token: its probability is then 0; finite in fp16 too
NO_TOKEN = -1  # an id that no token has


@dataclass(frozen=True)
class Trimming:
    """The tokens that a trimmed model keeps: int64 [V_new] ascending ids of the untrimmed model.

    `base_vocab_size` is the number of embedding rows of the untrimmed model.
    """

    kept_ids: Ids
    base_vocab_size: int


def trimming_of(model: PreTrainedModel) -> Trimming | None:
    """Return how `trim_model` trimmed this model, or the model that it was copied from; None if it trimmed neither."""
    return getattr(model, "_trimming", None)


def share_weights(model: PreTrainedModel) -> PreTrainedModel:
    """Return a model with modules and a configuration of its own, whose parameters and buffers are those of `model`.

    `trim_model` replaces parameters and leaves their values, so it can trim such a copy and spare the model.
    """
    tensors = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def trim_model(model: PreTrainedModel, kept_ids: Ids, *, rows: int | None = None) -> None:
    """Keep the rows `kept_ids` (int64 [V_new], ascending) of every parameter with one row for each token, in place.

    Tied parameters stay tied and untied ones untied; dtype, device and requires_grad do not change. In the
    configuration, `vocab_size` and the ids of special tokens are updated; the id of a dropped token becomes None, or
    `NO_TOKEN` where the configuration's class refuses None.
    Parameters are copied one at a time, so peak memory is the model plus one trimmed matrix.

    Args:
        model: any model of transformers that has token embeddings.
        kept_ids: ids as in the tokenizer, new id → old id.
        rows: pad the parameters to so many rows, with zeros, and a bias with `UNLIKELY`; default: no row is added. An
            output layer without a bias gives padded rows the logit 0.

    Raises:
        InputError: the tokenizer has more ids than the model has rows, the padding token would be dropped, or its id
            would change although the model numbers positions from it.
        ValueError: `kept_ids` is no ascending vector.
    """
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    base_rows = embeddings.weight.shape[0]
    rows = len(kept_ids) if rows is None else rows
    name = model.name_or_path or type(model).__name__
    if kept_ids[-1] >= base_rows:
        raise InputError(
            f"{name}: the tokenizer has id {kept_ids[-1]}, the model only {base_rows} rows; are they of one model?"
        )
    check_kept_ids(kept_ids, base_rows)
    pad = model.config.pad_token_id
    new_id = {old: new for new, old in enumerate(kept_ids.tolist())}
    fixed = positions_after_padding(model.config.model_type)
    if pad is not None and (pad not in new_id or (fixed and new_id[pad] != pad)):
        raise InputError(
            f"{name}: config.json has pad_token_id {pad}, but the tokenizer pads with another id; correct one"
        )

    index = torch.from_numpy(kept_ids)
    for module, parameter_name in _vocabulary_parameters(model, embeddings, head):
        _replace(model, getattr(module, parameter_name), index, rows)
    embeddings.num_embeddings = rows
    if head is not None:
        head.out_features = rows
    model.config.vocab_size = rows
    for key, value in model.config.to_dict().items():
        if key.endswith("_token_id") and isinstance(value, int):
            _set_token_id(model.config, key, new_id.get(value))
        elif key.endswith("_token_id") and isinstance(value, list):
            _set_token_id(model.config, key, [new_id[old] for old in value if old in new_id] or None)
    embeddings.padding_idx = new_id.get(embeddings.padding_idx)
    earlier = trimming_of(model)
    first_ids = earlier.kept_ids[kept_ids] if earlier else kept_ids
    model._trimming = Trimming(first_ids, earlier.base_vocab_size if earlier else base_rows)


def _set_token_id(config: PretrainedConfig, key: str, value: int | list[int] | None) -> None:
    try:
        setattr(config, key, value)
    except StrictDataclassFieldValidationError:  # such as EuroBERT's mask_token_id, which must be a whole number
        setattr(config, key, NO_TOKEN)


def _vocabulary_parameters(
    model: PreTrainedModel, embeddings: nn.Module, head: nn.Module | None
) -> list[tuple[nn.Module, str]]:
    """Return (module, parameter name) for each distinct parameter that has one row for each token."""
    found: list[tuple[nn.Module, str]] = [(embeddings, "weight")]
    if head is not None:
        found += [(head, "weight"), (head, "bias")]
        # In BERT and RoBERTa, the module that contains the output layer has a bias too, tied to the layer's or not.
        found += [(module, "bias") for module in model.modules() if any(child is head for child in module.children())]
    distinct = {id(getattr(module, name, None)): (module, name) for module, name in found}
    distinct.pop(id(None), None)
    return list(distinct.values())


def _replace(model: nn.Module, old: nn.Parameter, index: torch.Tensor, rows: int) -> None:
    """Replace `old` by its rows `index`, padded to `rows`, wherever the model uses it, so that tied ones stay tied."""
    data = old.new_full((rows, *old.shape[1:]), UNLIKELY if old.dim() == 1 else 0.0, requires_grad=False)
    torch.index_select(old.detach(), 0, index.to(old.device), out=data[: len(index)])
    new = nn.Parameter(data, requires_grad=old.requires_grad)
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if parameter is old:
                setattr(module, name, new)
