"""Encode texts as vectors.

Shapes: N texts, E values of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from bistil_ds.console.progress import progress_bar
from bistil_ds.embedding.encoder import SentenceEncoder
from bistil_ds.models.inputs import longest_input, padding_id

Array = np.ndarray


@torch.inference_mode()
def encode(
    model: SentenceEncoder,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    prompt: str | None = None,
    batch_size: int = 32,
    max_length: int | None = None,
    progress: str | None = None,
) -> Array:
    """Return the vector of each text, in the order of `texts`.

    Texts of about the same length share a batch. The model runs on its device and is left in evaluation mode.

    Args:
        model: a sentence encoder.
        tokenizer: its tokenizer.
        prompt: text that stands before each text; None: the model's default prompt.
        batch_size: texts in a batch.
        max_length: longest input in tokens; longer texts are cut. None: the model's own limit.
        progress: the title of a progress bar; None shows no bar.

    Returns:
        fp32 [N, E].
    """
    model.eval()
    settings, device = model.settings, next(model.parameters()).device
    prompt = settings.prompt if prompt is None else prompt
    limit = max_length or longest_text(model, tokenizer)
    ids = tokenizer([prompt + text for text in texts], truncation=True, max_length=limit)["input_ids"] if texts else []
    order = sorted(range(len(texts)), key=lambda i: -len(ids[i]))
    vectors = np.zeros((len(texts), settings.dimension(model.config.hidden_size)), dtype=np.float32)
    starts = range(0, len(order), batch_size)
    for start in progress_bar(starts, progress, leave=False, show=progress is not None, unit="batch"):
        mine = order[start : start + batch_size]
        longest = max(len(ids[i]) for i in mine)
        input_ids_BT = torch.full((len(mine), longest), padding_id(model.config))
        mask_BT = torch.zeros((len(mine), longest), dtype=torch.int64)
        for row, i in enumerate(mine):
            input_ids_BT[row, : len(ids[i])] = torch.tensor(ids[i])
            mask_BT[row, : len(ids[i])] = 1
        output = model(input_ids_BT.to(device), attention_mask=mask_BT.to(device))
        vectors[mine] = output.sentence_embedding.cpu().numpy()
    return vectors


def longest_text(model: SentenceEncoder, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the longest input in tokens: the model's own limit, but no more than it has positions for."""
    limits = [model.settings.max_length, longest_input(model.config), tokenizer.model_max_length]
    return min(limit for limit in limits if limit)
