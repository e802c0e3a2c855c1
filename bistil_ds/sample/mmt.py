"""Make the sample's massively multilingual Transformer (MMT) and its corpora on demand; keep them in the cache."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from transformers import AutoModelForMaskedLM

from bistil_ds.models.inputs import load_tokenizer
from bistil_ds.models.loading import load_pretrained
from bistil_ds.models.model_card import write_model_card
from bistil_ds.pretraining.masked_accuracy import masked_accuracy
from bistil_ds.pretraining.pretrain import Recipe, pretrain
from bistil_ds.sample.cached import cached
from bistil_ds.sample.grammar.generation import LANGUAGES, sentences
from bistil_ds.sample.text import LICENCE, write_card, write_text

RECIPE = Recipe()
PRETRAINING_SENTENCES, PRETRAINING_SEED = 12_000, 1
CORPUS_SENTENCES, CORPUS_SEED = 6_000, 10  # seed of the first language; each further language adds 1
HELD_OUT_SENTENCES, HELD_OUT_SEED = 500, 21


def sample_mmt(progress: bool = True) -> Path:
    """Return the folder of a small XLM-R for English, Turkish and Swahili; train the model if the cache lacks it.

    `AutoModelForMaskedLM` and `AutoTokenizer` load the folder. Its `accuracy.json` holds the model's
    `held_out_accuracy`.
    """
    return cached("mmt", lambda folder: _make_mmt(folder, progress))


def sample_corpora() -> dict[str, Path]:
    """Return language → path of its text for distillation (phase 1): en.txt, tr.txt or sw.txt.

    Each text is drawn with its own seed, so the texts are not parallel. The model's training text has yet another seed.
    """
    folder = cached("corpora", _make_corpora)
    return {language: folder / f"{language}.txt" for language in LANGUAGES}


def held_out_sentences() -> dict[str, list[str]]:
    """Return language → sentences drawn with a seed that no training text of the sample uses.

    Sentence n means the same in every language. A sentence may recur in a training text by chance.
    """
    parallel = list(sentences(HELD_OUT_SENTENCES, HELD_OUT_SEED))
    return {language: [each[language].text for each in parallel] for language in LANGUAGES}


def held_out_accuracy(model_folder: str | Path) -> dict[str, dict[str, float]]:
    """Return language → `masked_accuracy` of a saved model on the sentences of `held_out_sentences`."""
    model, _ = load_pretrained(AutoModelForMaskedLM, model_folder)
    tokenizer = load_tokenizer("", model_folder)
    return {language: masked_accuracy(model, tokenizer, lines) for language, lines in held_out_sentences().items()}


def _make_mmt(folder: Path, progress: bool) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        texts = write_text(scratch, PRETRAINING_SENTENCES, PRETRAINING_SEED)
        pretrain(texts, folder, RECIPE, parallel=True, progress=progress)
    write_model_card(folder, LANGUAGES, LICENCE)
    (folder / "accuracy.json").write_text(json.dumps(held_out_accuracy(folder), indent=1) + "\n", encoding="utf-8")


def _make_corpora(folder: Path) -> None:
    for seed, language in enumerate(LANGUAGES, start=CORPUS_SEED):
        lines = [parallel[language].text for parallel in sentences(CORPUS_SENTENCES, seed)]
        (folder / f"{language}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_card(folder)
