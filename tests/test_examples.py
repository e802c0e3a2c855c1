"""Run the example in the docstring of every public name."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import bistil_kernels
import pytest
import tiny
import torch
from datasets import Dataset
from transformers import XLMRobertaForTokenClassification

import bistil_ds
from bistil_ds.distillation.arguments import DistillationArguments
from bistil_ds.distributed import startup
from bistil_ds.sparse import SparseArguments
from bistil_ds.student import build_student

NAMES = [(package, name) for package in (bistil_kernels, bistil_ds) for name in package.__all__]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def kernel_names(folder: Path) -> dict[str, Any]:
    return {"torch": torch, **vars(bistil_kernels)}


def models_and_texts(folder: Path) -> dict[str, Any]:
    tokenizer = tiny.unigram_tokenizer()
    teacher = tiny.xlmr(len(tokenizer), layers=4)
    texts = {side: Dataset.from_dict({"text": tiny.text_lines(side, 60)}) for side in tiny.SYLLABLES}
    english, turkish = texts.values()
    return {"teacher": teacher, "tokenizer": tokenizer, "english": english, "turkish": turkish}


def phase_1(folder: Path) -> dict[str, Any]:
    teacher = tiny.xlmr(40)
    startup.choose_accelerator()  # else DeepSpeed prints which one it chose
    args = DistillationArguments(str(folder / "run"), report_to="none")
    chunks = Dataset.from_dict({"input_ids": [[0, 5 + row, 7, 2] for row in range(8)]})
    student = build_student(teacher).student
    return {"torch": torch, "student": student, "teacher": teacher, "args": args, "en": chunks, "tr": chunks}


def stages(folder: Path) -> dict[str, Any]:
    args = DistillationArguments(str(folder / "run"), report_to="none")
    return {"load_model": None, "make_trainer": None, "args": args, "SparseArguments": SparseArguments}


def fine_tuned(folder: Path) -> dict[str, Any]:
    return {"model": tiny.xlmr(40, seed=0), "tuned_model": tiny.xlmr(40, seed=1)}


def tagger(folder: Path) -> dict[str, Any]:
    tokenizer = tiny.unigram_tokenizer()
    config = tiny.xlmr(len(tokenizer), layers=1, width=8).config
    config.id2label = dict(enumerate(("O", "B-PER", "I-PER")))
    XLMRobertaForTokenClassification(config).save_pretrained(folder / "tagger")
    tokenizer.save_pretrained(folder / "tagger")
    for seed, language in enumerate(("en", "tr")):
        tiny.write_entities(folder / f"{language}.txt", 8, seed)
    return {}


def mmt_and_files(folder: Path) -> dict[str, Any]:
    tiny.write_teacher(folder / "mmt", layers=1)
    for language, file in zip(("en", "tr"), tiny.write_texts(folder, 40)):
        file.rename(folder / f"{language}.txt")
    return {}


MATERIAL = {
    "DistillationTrainer": phase_1,
    "LotteryTicketTrainer": stages,
    "SparseFineTuning": fine_tuned,
    "build_student": models_and_texts,
    "evaluate": tagger,
    "trim_pretrained": mmt_and_files,
    "trim_vocabulary": models_and_texts,
}


@pytest.mark.parametrize(("package", "name"), NAMES, ids=[f"{package.__name__}.{name}" for package, name in NAMES])
def test_the_example_of_a_public_name_shows_what_happens(
    package: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = getattr(package, name).__doc__
    make = kernel_names if package is bistil_kernels else MATERIAL.get(name, lambda folder: {})
    example = doctest.DocTestParser().get_doctest(words, make(tmp_path), name, None, 0)
    assert example.examples, f"{package.__name__}.{name}: its docstring has no example"
    assert "Example:" in words
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(example, out=said.append)
    assert not result.failed, "".join(said)


@pytest.mark.parametrize("change", ["result", "no example"])
def test_an_example_that_is_wrong_or_missing_is_found(change: str) -> None:
    words = (bistil_kernels.gather_at.__doc__ or "").replace("tensor([1., 5.])", "tensor([1., 6.])")
    if change == "no example":
        assert not doctest.DocTestParser().get_examples(words.replace(">>>", ""))
        return
    example = doctest.DocTestParser().get_doctest(words, kernel_names(Path()), "gather_at", None, 0)
    assert doctest.DocTestRunner(optionflags=FLAGS).run(example, out=lambda text: None).failed
