"""Compare the hidden states of a model and its trimmed copy on sample texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.models.inputs import longest_input, padding_id
from bistil_ds.vocabulary.encoding import encode_whole
from bistil_ds.vocabulary.kept_ids import Ids

BATCH_TEXTS, MOST_TOKENS = 8, 128


@dataclass(frozen=True)
class Agreement:
    """How far the hidden states of a model and its trimmed copy agree on texts of one language.

    Attributes:
        texts: number of texts in the sample.
        compared: number of those that both tokenizers cut into the same tokens; only their states are comparable.
        largest_difference: the largest absolute difference of two values, in any layer; None if no text was compared.
    """

    texts: int
    compared: int
    largest_difference: float | None


def compare_states(
    texts: Sequence[str],
    models: tuple[PreTrainedModel, PreTrainedModel],
    tokenizers: tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase],
    kept_ids: Ids,
) -> Agreement:
    """Run a model and its trimmed copy on the texts that their tokenizers cut alike, and compare all hidden states.

    Args:
        texts: texts of one language; of each, the first 128 tokens are used.
        models, tokenizers: before and after trimming, the models in eval mode.
        kept_ids: int64 [V_new], new id → old id.
    """
    most = min(MOST_TOKENS, longest_input(models[0].config))
    old, new = (encode_whole(texts, tokenizer, add_special_tokens=True) for tokenizer in tokenizers)
    pairs = [
        (old_ids[:most], new_ids[:most])
        for old_ids, new_ids in zip(old, new, strict=True)
        if old_ids and kept_ids[new_ids].tolist() == old_ids
    ]
    pairs.sort(key=lambda pair: len(pair[0]))  # texts of like length in a batch need little padding
    differences = [
        (before - after).abs().max().item()
        for start in range(0, len(pairs), BATCH_TEXTS)
        for before, after in zip(
            *(
                hidden_states(model, ids)
                for model, ids in zip(models, zip(*pairs[start : start + BATCH_TEXTS]), strict=True)
            ),
            strict=True,
        )
    ]
    return Agreement(len(texts), len(pairs), max(differences, default=None))


@torch.inference_mode()
def hidden_states(model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """Return the hidden states [real tokens, D] of one batch after the embeddings and after each layer.

    Args:
        texts: the token ids of each text.
    """
    lengths_B = torch.tensor([len(ids) for ids in texts])
    ids_BT = pad_sequence([torch.tensor(ids) for ids in texts], True, padding_id(model.config))
    mask_BT = torch.arange(ids_BT.shape[1]) < lengths_B[:, None]
    outputs = model.base_model(input_ids=ids_BT, attention_mask=mask_BT.long(), output_hidden_states=True)
    return [state_BTD[mask_BT] for state_BTD in outputs.hidden_states]
