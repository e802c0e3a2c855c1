"""Train a masked-LM head for an encoder that has none; the encoder itself does not change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from transformers import AutoModelForMaskedLM, Trainer

from bistil_ds.errors import InputError
from bistil_ds.models.head import head_parameters
from bistil_ds.models.inputs import load_config, longest_input
from bistil_ds.models.loading import is_masked_lm, load_pretrained
from bistil_ds.models.tokenizer_folder import save_tokenizer
from bistil_ds.pretraining.data import TokenChunks, chunks_of, load_tokenizer_with, read_lines
from bistil_ds.pretraining.pretrain import Recipe, train_masked

FLAG = "--encoder"


def train_head(
    encoder: str | Path,
    texts: Mapping[str, str | Path],
    output_dir: str | Path,
    recipe: Recipe | None = None,
    *,
    progress: bool = True,
    watch: Callable[[Trainer], None] | None = None,
) -> list[float]:
    """Train a new masked-LM head on the states of a frozen encoder; save encoder, head and tokenizer in `output_dir`.

    Its output weights are tied to the word embeddings where the family ties them, so those do not change either.

    Args:
        encoder: folder or hub id of an encoder without a masked-LM head.
        texts: language → UTF-8 text file, one text a line; each language gets an equal share of the chunks.
        recipe: its steps, batch size, length, learning rate, mask probability and seed count.
        progress, watch: as for `pretrain`.

    Returns:
        The mean training loss of every `max(1, steps // 20)` steps, in order.

    Raises:
        InputError: a text or the encoder cannot be used, the encoder has a masked-LM head, or its longest input is
            shorter than a chunk.
        NonFiniteError: a loss, gradients or weights were not finite; nothing is saved.
    """
    recipe = recipe or Recipe()
    config = load_config(FLAG, encoder)
    if config.architectures and is_masked_lm(config):
        raise InputError(f"{FLAG} {encoder}: has a masked-LM head already; use it as it is")
    if recipe.length > (longest := longest_input(config)):
        raise InputError(f"--length {recipe.length}: {encoder} takes at most {longest} tokens")
    tokenizer = load_tokenizer_with(("mask",), FLAG, encoder)
    lines = {language: read_lines(Path(path)) for language, path in sorted(texts.items())}
    corpora = [chunks_of(language, each, tokenizer, recipe.length) for language, each in lines.items()]
    data = TokenChunks(corpora, [1 / len(lines)] * len(lines), recipe.steps * recipe.batch_size, recipe.seed)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model, _ = load_pretrained(AutoModelForMaskedLM, encoder, flag=FLAG, dtype=torch.float32)
        head = {id(parameter) for parameter in head_parameters(model)}
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in head)
        losses = train_masked(model, tokenizer, data, recipe, progress=progress, watch=watch)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    model.save_pretrained(output_dir)
    save_tokenizer(tokenizer, output_dir)
    return losses
