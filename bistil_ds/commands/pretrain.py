"""`pretrain.py`: train a small masked language model from random weights, on text files or the embedded sample."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bistil_ds.commands.common_flags import CommonFlags
from bistil_ds.commands.dry_run import print_table
from bistil_ds.console import cli
from bistil_ds.console.terminal import say
from bistil_ds.errors import InputError
from bistil_ds.models.inputs import load_config, load_tokenizer
from bistil_ds.models.loading import load_language_model
from bistil_ds.models.model_card import write_model_card
from bistil_ds.pretraining.corpora import as_lines, find_corpora
from bistil_ds.pretraining.dry_run import rehearse
from bistil_ds.pretraining.head import train_head
from bistil_ds.pretraining.pretrain import Recipe, pretrain
from bistil_ds.runs.cache import file_hash
from bistil_ds.runs.folder import new_folder, run_folder
from bistil_ds.runs.record import RunRecord
from bistil_ds.sample import LANGUAGES, held_out_accuracy, mmt, write_text
from bistil_ds.sample.text import LICENCE
from bistil_ds.training.flags.idle import refuse_idle
from bistil_ds.training.product import check_product
from bistil_ds.training.speed import encoder_flops

# flag → further flags that have no effect beside it, and why
NOT_BESIDE = {
    "encoder": (
        (
            *("vocab_size", "layers", "hidden_size", "heads", "max_positions", "window"),
            *("parallel", "parallel_share", "tokenizer", "config"),
        ),
        "--encoder has its own shape and vocabulary, and only its head is trained",
    ),
    "config": (("layers", "hidden_size", "heads"), "--config says it"),
    "tokenizer": (("vocab_size",), "--tokenizer has its own vocabulary"),
}


@dataclass
class PretrainArguments(Recipe):
    """Flags of the command: the text, the model's folder, and the training recipe."""

    input_folder: str | None = field(
        default=None,
        metadata={"help": "folder of <language>.txt files, or of .jsonl, .csv, .tsv or .parquet; default: the sample"},
    )
    max_texts: int | None = field(
        default=None, metadata={"help": "read the first texts of each file only; default: all"}
    )
    output_dir: str | None = field(default=None, metadata={"help": "default: runs/pretrain-<time>"})
    parallel: bool = field(default=False, metadata={"help": "line n of each file says the same: train on pairs too"})
    tokenizer: str | None = field(default=None, metadata={"help": "folder or hub id of a tokenizer to use as it is"})
    config: str | None = field(default=None, metadata={"help": "folder or hub id of a model configuration to use"})
    encoder: str | None = field(
        default=None,
        metadata={"help": "folder or hub id of an encoder: train only a masked-LM head for it, which it lacks"},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `bistil-pretrain` and return its exit code: 0, 2 for bad input, or 130 after Ctrl-C.

    The code is 1 if training met a loss, gradient or weight that is not finite; then no model was saved.
    """
    return cli.run(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> None:
    ns = cli.parse(
        argv, [PretrainArguments, CommonFlags], "Pretrain a small masked language model from random weights."
    )
    if ns.input_folder is not None and not Path(ns.input_folder).is_dir():
        raise InputError(f"--input_folder {ns.input_folder}: no such folder")
    if ns.max_texts is not None and ns.max_texts < 1:
        raise InputError(f"--max_texts {ns.max_texts}: expected at least 1")
    _check_effects(ns)
    folder = run_folder(ns.output_dir, "pretrain", None)
    recipe = Recipe(**{name: getattr(ns, name) for name in Recipe.__dataclass_fields__})
    recipe.check()
    with tempfile.TemporaryDirectory() as scratch:
        if ns.input_folder is None:
            found = write_text(scratch, ns.max_texts or mmt.PRETRAINING_SENTENCES, mmt.PRETRAINING_SEED)
            texts = found
        else:
            found = find_corpora(ns.input_folder)
            texts = as_lines(found, Path(scratch), max_texts=ns.max_texts, keep_blank=ns.parallel)
        train = _trainer_of(ns, texts, recipe)
        if ns.dry_run:
            rehearsal, seconds = rehearse(texts, train)
            print_table(rehearsal, seconds, folder)
            return
        data = {language: {"path": str(path), "sha256": file_hash(path)} for language, path in found.items()}
        with new_folder(folder, explicit=ns.output_dir is not None) as folder:
            _write(ns, folder, recipe, train(folder), data)
    say(folder)


def _write(ns: argparse.Namespace, folder: Path, recipe: Recipe, losses: list[float], data: Mapping[str, Any]) -> None:
    """Write card and record beside a model that was trained, and check that it loads."""
    is_sample = ns.input_folder is None
    write_model_card(folder, list(data), LICENCE if is_sample else None)
    arguments = {name: getattr(ns, name) for name in PretrainArguments.__dataclass_fields__}
    record = RunRecord(folder, arguments=arguments, seeds={"seed": recipe.seed}, data=data)
    record.update(results={"losses": losses, **_costs(folder, recipe, frozen=ns.encoder is not None)})
    if is_sample:
        accuracy = held_out_accuracy(folder)
        record.update(results={"masked_accuracy": accuracy})
        for language in LANGUAGES:
            scores = accuracy[language]
            say(f"{language}: accuracy {scores['accuracy']:.1%}, most frequent token {scores['most_frequent']:.1%}")
    check_product(folder, _load)
    record.finish()


def _trainer_of(ns: argparse.Namespace, texts: Mapping[str, Path], recipe: Recipe) -> Callable[..., list[float]]:
    """Return the function that trains what the flags ask for; it takes a folder, and the `progress` of `pretrain`."""
    if ns.encoder is not None:
        return partial(train_head, ns.encoder, texts, recipe=recipe)
    parallel = ns.parallel or ns.input_folder is None
    return partial(pretrain, texts, recipe=recipe, parallel=parallel, tokenizer=ns.tokenizer, config=ns.config)


def _check_effects(ns: argparse.Namespace) -> None:
    """Raise InputError for a flag that has no effect beside the others, and for --encoder without text."""
    if ns.encoder is not None and ns.input_folder is None:
        raise InputError(f"--input_folder missing: give text for the head of --encoder {ns.encoder}")
    idle = {} if ns.parallel or ns.input_folder is None else {"parallel_share": "there is no --parallel"}
    for given, (names, why) in NOT_BESIDE.items():
        if getattr(ns, given) is not None:
            idle |= dict.fromkeys(names, why)
    refuse_idle([PretrainArguments], vars(ns), idle)


def _costs(folder: Path, recipe: Recipe, *, frozen: bool) -> dict[str, float]:
    """Return tokens and FLOPs of the training; a frozen encoder has no backward pass. The head does not count."""
    tokens, config = recipe.steps * recipe.batch_size * recipe.length, load_config("", folder)
    forward = encoder_flops(config, recipe.length, config.num_hidden_layers)
    return {"tokens": tokens, "flops": tokens * forward * (1 if frozen else 3)}


def _load(folder: Path) -> None:
    """Check that the saved model and tokenizer can be loaded."""
    load_language_model(folder)
    load_tokenizer("", folder)


if __name__ == "__main__":
    raise SystemExit(main())
