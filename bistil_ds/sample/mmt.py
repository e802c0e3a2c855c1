"""The sample's massively multilingual Transformer (MMT), which the package ships, and the sample's corpora.

`bistil-pretrain` trained the MMT, and `pack.py` put it in the package. `model/recipe.json` has the run's arguments,
losses and versions.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM

from bistil_ds.models.inputs import load_tokenizer
from bistil_ds.models.loading import load_pretrained
from bistil_ds.pretraining.masked_accuracy import masked_accuracy
from bistil_ds.sample.cached import SHIPPED, cached
from bistil_ds.sample.grammar.generation import LANGUAGES, sentences
from bistil_ds.sample.text import write_card

WEIGHTS = "model.safetensors"
PRETRAINING_SENTENCES, PRETRAINING_SEED = 60_000, 1
CORPUS_SENTENCES, CORPUS_SEED = 6_000, 10  # seed of the first language; each further language adds 1
HELD_OUT_SENTENCES, HELD_OUT_SEED = 500, 21


def sample_mmt() -> Path:
    """Return the folder of a small XLM-R for English, Turkish and Swahili; `transformers` loads model and tokenizer.

    The package has the weights in half precision; the folder, in the cache, has them in fp32.
    """
    return cached("mmt", lambda folder: unpack(SHIPPED, folder))


def unpack(packed: Path, folder: Path) -> None:
    """Copy a packed model to `folder`, with its weights in fp32."""
    for path in packed.iterdir():
        if path.name != WEIGHTS:
            shutil.copy(path, folder)
    weights = {name: tensor.float() for name, tensor in load_file(packed / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


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


def _make_corpora(folder: Path) -> None:
    for seed, language in enumerate(LANGUAGES, start=CORPUS_SEED):
        lines = [parallel[language].text for parallel in sentences(CORPUS_SENTENCES, seed)]
        (folder / f"{language}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_card(folder)
