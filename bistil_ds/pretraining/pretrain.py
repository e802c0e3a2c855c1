"""Pretrain a small masked language model on text files.

If the files are parallel, some chunks hold translation pairs (translation language modelling).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModelForMaskedLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from bistil_ds.errors import InputError
from bistil_ds.models.families import family_of
from bistil_ds.models.head import HeadTap
from bistil_ds.models.inputs import is_encoder, load_config, longest_input
from bistil_ds.models.tokenizer_folder import save_tokenizer
from bistil_ds.pretraining.data import TokenChunks, chunks_of, load_tokenizer_with, pair_chunks, read_lines
from bistil_ds.pretraining.embedding_init import cooccurrence_vectors
from bistil_ds.pretraining.unigram import train_unigram_tokenizer
from bistil_ds.text.masking import mask_tokens
from bistil_ds.training.finite_trainer import BatchLoss, FiniteTrainer
from bistil_ds.training.progress import ShortProgress


@dataclass
class Recipe:
    """Sizes and schedule of a pretraining run."""

    vocab_size: int = field(default=2000, metadata={"help": "tokens of the vocabulary learned from the text"})
    layers: int = field(default=6, metadata={"help": "Transformer layers"})
    hidden_size: int = field(default=128, metadata={"help": "width; the feed-forward layer is four times as wide"})
    heads: int = field(default=2, metadata={"help": "attention heads"})
    max_positions: int = field(default=256, metadata={"help": "the longest input, in tokens"})
    steps: int = field(default=1000, metadata={"help": "training steps"})
    batch_size: int = field(default=16, metadata={"help": "chunks in a step"})
    length: int = field(default=64, metadata={"help": "tokens in a chunk"})
    learning_rate: float = field(
        default=2e-3, metadata={"help": "peak; warm-up over a tenth of the steps, linear decay"}
    )
    mask_probability: float = field(default=0.2, metadata={"help": "share of the tokens to be predicted"})
    parallel_share: float = field(default=0.5, metadata={"help": "with --parallel: share of chunks that hold pairs"})
    window: int = field(default=12, metadata={"help": "tokens apart that count as near when word vectors are started"})
    seed: int = field(default=0, metadata={"help": "the same seed gives the same weights"})
    bf16: bool = field(default=False, metadata={"help": "compute in bfloat16; weights and optimizer stay in float32"})

    def check(self) -> None:
        """Raise InputError for a value that cannot be used, or for values that do not go together."""
        for size in ("layers", "hidden_size", "heads", "steps", "batch_size", "window"):
            if getattr(self, size) < 1:
                raise InputError(f"--{size} {getattr(self, size)}: give at least 1")
        if self.hidden_size % self.heads:
            raise InputError(f"--hidden_size {self.hidden_size} cannot be divided among --heads {self.heads}")
        if not 2 <= self.length <= self.max_positions:
            raise InputError(f"--length {self.length}: give 2 to --max_positions {self.max_positions}")
        if not 0 < self.learning_rate < float("inf"):
            raise InputError(f"--learning_rate {self.learning_rate}: expected a number above 0")
        if not 0 < self.mask_probability < 1:
            raise InputError(f"--mask_probability {self.mask_probability}: expected a probability between 0 and 1")
        if not 0 <= self.parallel_share <= 1:
            raise InputError(f"--parallel_share {self.parallel_share}: expected a share from 0 to 1")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed {self.seed}: expected a whole number from 0 to {2**32 - 1}")


class _Collator:
    """Collator that masks a batch; the choice of tokens depends on the seed and on the batch's place in the run.

    In the first `apart` chunks of the run, a token attends only to its own text; in later chunks, to the whole chunk.
    With so little to attend to at first, a model learns sooner to use the context.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, probability: float, seed: int, apart: int) -> None:
        self.tokenizer, self.probability, self.seed, self.apart = tokenizer, probability, seed, apart
        self.special = torch.tensor(tokenizer.all_special_ids)

    def __call__(self, rows: Sequence[tuple[int, np.ndarray]]) -> dict[str, Tensor]:
        ids_BT = torch.from_numpy(np.stack([row for _, row in rows]).astype(np.int64))
        masked_BT, labels_BT = mask_tokens(
            ids_BT,
            ~torch.isin(ids_BT, self.special),
            seed=self.seed * 1_000_003 + rows[0][0],
            rows=slice(0, len(rows)),
            total_rows=len(rows),
            mask_token_id=self.tokenizer.mask_token_id,
            vocab_size=len(self.tokenizer),
            probability=self.probability,
        )
        batch = {"input_ids": masked_BT, "labels": labels_BT}
        if rows[0][0] < self.apart:
            text_BT = (ids_BT == self.tokenizer.cls_token_id).cumsum(1)  # <s> starts each text or translation pair
            batch["attention_mask"] = (text_BT[:, :, None] == text_BT[:, None, :])[:, None]
        return batch


class _MaskedTrainer(FiniteTrainer):
    """Trainer that takes chunks in the order of the data set, and runs the output head at masked positions only."""

    tap: HeadTap

    def batch_loss(self, model: Any, inputs: dict[str, Any], micro_step: int, progress: float) -> BatchLoss:
        labels = inputs.pop("labels").flatten()
        positions = (labels != -100).nonzero().squeeze(1)
        self.tap.set(positions, None)
        logits = model(**inputs).logits.float()
        loss = torch.nn.functional.cross_entropy(logits, labels[positions], reduction="sum") / max(len(positions), 1)
        size = self.args.per_device_train_batch_size
        rows = f"chunks {micro_step * size} to {(micro_step + 1) * size - 1}"
        return BatchLoss(loss, {"loss": loss.detach()}, "train", lambda: rows)

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> torch.utils.data.Sampler:
        return torch.utils.data.SequentialSampler(self.train_dataset)


def pretrain(
    texts: Mapping[str, str | Path],
    output_dir: str | Path,
    recipe: Recipe | None = None,
    *,
    parallel: bool = False,
    tokenizer: str | Path | None = None,
    config: str | Path | None = None,
    progress: bool = True,
    watch: Callable[[Trainer], None] | None = None,
) -> list[float]:
    """Train a masked language model from random weights and save it with its tokenizer in `output_dir`.

    Args:
        texts: language → UTF-8 text file, one text a line.
        parallel: whether the files are translations of each other, line by line. If so, some chunks hold translation
            pairs; `recipe.parallel_share` is their share.
        tokenizer: folder or hub id of a tokenizer; by default one is learned from the texts.
        config: folder or hub id of a configuration. Its vocabulary size and special token ids are replaced by the
            tokenizer's. By default: an XLM-R of the recipe's size.
        progress: show a progress bar.
        watch: function that is called with the trainer before training.

    Returns:
        The mean training loss of every `max(1, steps // 20)` steps, in order.

    Raises:
        InputError: a text, a size, the tokenizer or the configuration cannot be used.
        NonFiniteError: a loss, gradients or weights were not finite; nothing is saved.
    """
    recipe = recipe or Recipe()
    recipe.check()
    lines = {language: read_lines(Path(path)) for language, path in sorted(texts.items())}
    counts = {language: len(each) for language, each in lines.items()}
    if parallel and (len(lines) < 2 or len(set(counts.values())) != 1):
        raise InputError(f"--parallel: needs two or more files with as many lines each, found {counts}")
    pieces = _tokenizer(lines, recipe, tokenizer)
    model_config = _model_config(recipe, pieces, config)
    corpora, shares = _corpora(lines, pieces, recipe, parallel)
    data = TokenChunks(corpora, shares, recipe.steps * recipe.batch_size, recipe.seed)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model = AutoModelForMaskedLM.from_config(model_config)
        _start(model, corpora, recipe.window)
        losses = train_masked(model, pieces, data, recipe, apart=len(data) * 4 // 5, progress=progress, watch=watch)
    model.save_pretrained(output_dir)
    save_tokenizer(pieces, output_dir)
    return losses


def train_masked(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: TokenChunks,
    recipe: Recipe,
    *,
    apart: int = 0,
    progress: bool = True,
    watch: Callable[[Trainer], None] | None = None,
) -> list[float]:
    """Train a masked language model on chunks, in place; return what `pretrain` returns.

    Args:
        data: as many chunks as the run reads, in order.
        apart: in so many chunks, from the first, a token attends only to its own text.
        progress, watch: as for `pretrain`.

    Raises:
        NonFiniteError: a loss, gradients or weights were not finite.
    """
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            max_steps=recipe.steps,
            per_device_train_batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=max(1, recipe.steps // 10),
            adam_beta2=0.98,
            weight_decay=0.01,
            seed=recipe.seed,
            bf16=recipe.bf16,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            logging_steps=max(1, recipe.steps // 20),
            report_to=[],
            disable_tqdm=not progress,
            remove_unused_columns=False,
        )
        collator = _Collator(tokenizer, recipe.mask_probability, recipe.seed, apart)
        trainer = _MaskedTrainer(model=model, args=arguments, train_dataset=data, data_collator=collator)
        trainer.remove_callback(ProgressCallback if progress else PrinterCallback)
        if progress:
            trainer.add_callback(ShortProgress)
        if watch is not None:
            watch(trainer)
        with HeadTap(model) as trainer.tap:
            trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def _start(model: PreTrainedModel, corpora: Sequence[np.ndarray], window: int) -> None:
    """Set the word vectors from co-occurrence, and prepare the first attention of an XLM-R.

    The attention's value and output matrices become the identity, so that it adds about the mean of the context to each
    token. With random weights instead, a short run learns little more than the frequencies of words.
    """
    weight_VD = model.get_input_embeddings().weight.data
    weight_VD.copy_(torch.from_numpy(0.05 * cooccurrence_vectors(corpora, window, *weight_VD.shape)))
    if isinstance(model, XLMRobertaForMaskedLM):
        first = family_of(model).layer(0)
        for name in (first.value, first.attention_output):
            torch.nn.init.eye_(model.get_parameter(f"{name}.weight"))


def _tokenizer(lines: Mapping[str, list[str]], recipe: Recipe, source: str | Path | None) -> PreTrainedTokenizerBase:
    if source is None:
        every = (line for each in lines.values() for line in each if line)
        return train_unigram_tokenizer(every, recipe.vocab_size, recipe.max_positions)
    return load_tokenizer_with(("mask", "cls", "pad"), "--tokenizer", source)


def _corpora(
    lines: Mapping[str, list[str]], tokenizer: PreTrainedTokenizerBase, recipe: Recipe, parallel: bool
) -> tuple[list[np.ndarray], list[float]]:
    """Return a list of corpora and the share of each in training. A corpus is the chunks of one language.

    With `parallel`, the last corpus is the chunks of translation pairs.
    """
    corpora = [chunks_of(language, each, tokenizer, recipe.length) for language, each in lines.items()]
    shares = [1 / len(lines)] * len(lines)
    if parallel and recipe.parallel_share:
        corpora.append(pair_chunks(lines, tokenizer, recipe.length, recipe.seed))
        shares = [share * (1 - recipe.parallel_share) for share in shares] + [recipe.parallel_share]
    return corpora, shares


def _model_config(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, source: str | Path | None) -> PretrainedConfig:
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    if source is not None:
        config = load_config("--config", source, vocab_size=len(tokenizer), **special)
        if not is_encoder(config):
            raise InputError(
                f"--config {source}: is a {config.model_type} model; give an encoder such as XLM-R or BERT"
            )
        if recipe.length > (longest := longest_input(config)):
            raise InputError(f"--length {recipe.length}: {source} takes at most {longest} tokens")
        return config
    return XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=4 * recipe.hidden_size,
        max_position_embeddings=recipe.max_positions + 2,  # position numbers start at 2, after the padding id 1
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        initializer_range=0.03,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **special,
    )
