"""Pretrains a small XLM-R on text files: masked language modelling and, on parallel text, translation language modelling."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    XLMRobertaConfig,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from bistil_ds.errors import InputError
from bistil_ds.masking import mask_tokens
from bistil_ds.progress import ShortProgress
from bistil_ds.unigram_tokenizer import train_unigram_tokenizer


@dataclass
class Recipe:
    """Sizes and schedule of a pretraining run."""

    vocab_size: int = field(default=3000, metadata={"help": "tokens of the vocabulary learned from the text"})
    layers: int = field(default=6, metadata={"help": "Transformer layers"})
    hidden_size: int = field(default=128, metadata={"help": "width; the feed-forward layer is four times as wide"})
    heads: int = field(default=2, metadata={"help": "attention heads"})
    max_positions: int = field(default=256, metadata={"help": "the longest input, in tokens"})
    steps: int = field(default=600, metadata={"help": "training steps"})
    batch_size: int = field(default=32, metadata={"help": "chunks in a step"})
    length: int = field(default=64, metadata={"help": "tokens in a chunk"})
    learning_rate: float = field(default=2e-3, metadata={"help": "after a warm-up over a tenth of the steps, then linear decay"})
    mask_probability: float = field(default=0.2, metadata={"help": "share of the tokens to be predicted"})
    parallel_share: float = field(default=0.5, metadata={"help": "share of chunks with translation pairs, with --parallel"})
    seed: int = field(default=0, metadata={"help": "the same seed gives the same weights"})


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file, empty ones included (they keep parallel files in step).

    Raises:
        InputError: no file, not UTF-8 (the line is named), or nothing in it.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    lines = []
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                lines.append(raw.decode("utf-8").strip())
            except UnicodeDecodeError:
                raise InputError(f"{path}, line {number}: not UTF-8; convert the file") from None
    if not any(lines):
        raise InputError(f"{path}: holds no text")
    return lines


def find_texts(folder: str | Path) -> dict[str, Path]:
    """The text files of a folder by language: <language>.txt."""
    texts = {path.stem: path for path in sorted(Path(folder).glob("*.txt"))}
    if not texts:
        raise InputError(f"{folder}: holds no <language>.txt files")
    return texts


def chunk(token_ids: Sequence[Sequence[int]], length: int) -> np.ndarray:
    """int32 [chunks, length]: all texts in a row, special tokens included, cut at `length`; the rest is dropped."""
    flat = np.fromiter((token for ids in token_ids for token in ids), dtype=np.int32)
    return flat[: len(flat) // length * length].reshape(-1, length)


def pair_lines(lines: Mapping[str, list[str]], draw: random.Random) -> list[tuple[str, str]]:
    """For each line number, the line in two languages drawn at random; numbers with an empty line are left out."""
    languages = sorted(lines)
    pairs = []
    for row in zip(*(lines[language] for language in languages)):
        first, second = draw.sample(range(len(languages)), 2)
        if row[first] and row[second]:
            pairs.append((row[first], row[second]))
    return pairs


class Chunks(Dataset[np.ndarray]):
    """The chunks of a whole run in order: each corpus goes round under fresh shuffles, corpora drawn by share."""

    def __init__(self, corpora: Sequence[np.ndarray], shares: Sequence[float], size: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.corpora = corpora
        self.corpus_of = rng.choice(len(corpora), size, p=np.asarray(shares) / sum(shares))
        self.row_of = np.empty(size, dtype=np.int64)
        for i, corpus in enumerate(corpora):
            places = np.flatnonzero(self.corpus_of == i)
            rounds = [rng.permutation(len(corpus)) for _ in range(-(-len(places) // len(corpus)))]
            self.row_of[places] = np.concatenate(rounds)[: len(places)] if rounds else 0

    def __len__(self) -> int:
        return len(self.row_of)

    def __getitem__(self, index: int) -> tuple[int, np.ndarray]:  # type: ignore[override]
        return index, self.corpora[self.corpus_of[index]][self.row_of[index]]


class _Collator:
    """Masks a batch; which tokens depends on the seed and on the place of the batch in the run."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, probability: float, seed: int) -> None:
        self.tokenizer, self.probability, self.seed = tokenizer, probability, seed
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
        return {"input_ids": masked_BT, "labels": labels_BT}


class _OrderedTrainer(Trainer):
    """Takes the examples in the order the data set gives them."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> torch.utils.data.Sampler:
        return torch.utils.data.SequentialSampler(self.train_dataset)


def pretrain(
    texts: Mapping[str, str | Path],
    output_dir: str | Path,
    recipe: Recipe | None = None,
    *,
    parallel: bool = False,
    tokenizer: str | Path | PreTrainedTokenizerBase | None = None,
    config: str | Path | None = None,
    progress: bool = True,
) -> list[float]:
    """Trains a masked language model from random weights and saves it with its tokenizer in `output_dir`.

    Args:
        texts: language → UTF-8 text file, one text a line.
        parallel: the files are translations line by line: part of the chunks hold pairs (translation language modelling).
        tokenizer, config: a folder or hub id to take the tokenizer or the model's configuration from (its vocabulary size
            becomes the tokenizer's); by default a vocabulary is learned and the model is an XLM-R of the recipe's size.

    Returns:
        The training loss, its mean over each twentieth of the run.

    Raises:
        InputError: a text or a size that cannot be used.
    """
    recipe = recipe or Recipe()
    lines = {language: read_lines(Path(path)) for language, path in sorted(texts.items())}
    counts = {language: len(each) for language, each in lines.items()}
    if parallel and (len(lines) < 2 or len(set(counts.values())) != 1):
        raise InputError(f"--parallel: needs two or more files with as many lines each, found {counts}")
    if recipe.hidden_size % recipe.heads:
        raise InputError(f"--hidden_size {recipe.hidden_size} cannot be divided among --heads {recipe.heads}")
    if not 2 <= recipe.length <= recipe.max_positions:
        raise InputError(f"--length {recipe.length}: give 2 to --max_positions {recipe.max_positions}")
    if tokenizer is None:
        every = (line for each in lines.values() for line in each if line)
        tokenizer = train_unigram_tokenizer(every, recipe.vocab_size, recipe.max_positions)
    elif isinstance(tokenizer, (str, Path)):
        tokenizer = AutoTokenizer.from_pretrained(tokenizer)
    corpora, shares = _corpora(lines, tokenizer, recipe, parallel)
    data = Chunks(corpora, shares, recipe.steps * recipe.batch_size, recipe.seed)
    with torch.random.fork_rng(), tempfile.TemporaryDirectory() as scratch:
        torch.manual_seed(recipe.seed)
        model = AutoModelForMaskedLM.from_config(_model_config(recipe, tokenizer, config))
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
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            logging_steps=max(1, recipe.steps // 20),
            report_to=[],
            disable_tqdm=not progress,
            remove_unused_columns=False,
        )
        collator = _Collator(tokenizer, recipe.mask_probability, recipe.seed)
        trainer = _OrderedTrainer(model=model, args=arguments, train_dataset=data, data_collator=collator)
        trainer.remove_callback(ProgressCallback if progress else PrinterCallback)
        if progress:
            trainer.add_callback(ShortProgress)
        trainer.train()
    model.save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def _corpora(
    lines: Mapping[str, list[str]], tokenizer: PreTrainedTokenizerBase, recipe: Recipe, parallel: bool
) -> tuple[list[np.ndarray], list[float]]:
    """Chunks of each language, then of pairs; and the share each has in training."""
    corpora = []
    for language, each in lines.items():
        corpora.append(chunk(tokenizer([line for line in each if line])["input_ids"], recipe.length))
        if not len(corpora[-1]):
            raise InputError(f"{language}: has less text than one chunk of --length {recipe.length} tokens")
    shares = [1 / len(lines)] * len(lines)
    if parallel and recipe.parallel_share:
        firsts, seconds = zip(*pair_lines(lines, random.Random(recipe.seed)))
        corpora.append(chunk(tokenizer(list(firsts), list(seconds))["input_ids"], recipe.length))
        shares = [share * (1 - recipe.parallel_share) for share in shares] + [recipe.parallel_share]
    return corpora, shares


def _model_config(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, source: str | Path | None) -> PretrainedConfig:
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    if source is not None:
        return AutoConfig.from_pretrained(source, vocab_size=len(tokenizer), **special)
    return XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=4 * recipe.hidden_size,
        max_position_embeddings=recipe.max_positions + 2,  # positions start behind the padding id
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **special,
    )
