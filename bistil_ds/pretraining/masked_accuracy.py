"""Measure how often a masked language model predicts the masked token, and how often a constant guess is right."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Shapes: B sentences, T tokens


@torch.no_grad()
def masked_accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    lines: Sequence[str],
    *,
    probability: float = 0.15,
    seed: int = 0,
    batch_size: int = 64,
) -> dict[str, float]:
    """Mask each token of `lines` with the given probability, and measure how often the model predicts it.

    `lines` must hold at least one line.

    Returns:
        `accuracy`: the share of masked tokens that the model predicts. `most_frequent`: the share that are right if the
        guess is always the token that was masked most often. Both are from 0 to 1, and 0 if no token was masked.
    """
    was_training = model.training
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    right, wanted = 0, []
    for start in range(0, len(lines), batch_size):
        batch = tokenizer(list(lines[start : start + batch_size]), padding=True, truncation=True, return_tensors="pt")
        ids_BT = batch["input_ids"]
        special_BT = torch.isin(ids_BT, torch.tensor(tokenizer.all_special_ids))
        chosen_BT = (torch.rand(ids_BT.shape, generator=generator) < probability) & ~special_BT
        masked_BT = torch.where(chosen_BT, torch.tensor(tokenizer.mask_token_id), ids_BT)
        attention_BT = batch["attention_mask"].to(model.device)
        logits_BTV = model(input_ids=masked_BT.to(model.device), attention_mask=attention_BT).logits
        answers = logits_BTV[chosen_BT.to(model.device)].argmax(-1).cpu()
        right += int((answers == ids_BT[chosen_BT]).sum())
        wanted.append(ids_BT[chosen_BT])
    model.train(was_training)
    all_wanted = torch.cat(wanted)
    frequent = int(torch.bincount(all_wanted).max()) if len(all_wanted) else 0
    masked = max(len(all_wanted), 1)
    return {"accuracy": right / masked, "most_frequent": frequent / masked}
