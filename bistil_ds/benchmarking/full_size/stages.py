"""Define the stages of the full-size benchmark: prepare, imports, trim, build, step.

Each stage runs in a process of its own. In a shared process, a high peak of memory in one stage would hide the peaks of
the later ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForMaskedLM

from bistil_ds.benchmarking.full_size.material import prepare
from bistil_ds.benchmarking.harness.peak_memory import resident_peak
from bistil_ds.distillation.distiller import Distiller
from bistil_ds.models.inputs import load_tokenizer
from bistil_ds.models.loading import load_pretrained
from bistil_ds.models.tokenizer_folder import save_tokenizer
from bistil_ds.student import build_student
from bistil_ds.student.folder import read_layer_map, write_alignment
from bistil_ds.vocabulary import save_kept_ids, trim_vocabulary


def imports(name: str, folder: Path, quick: bool) -> dict[str, Any]:
    """Do nothing: the row of this stage shows the memory that the imported libraries take."""
    return {}


def trim(name: str, folder: Path, quick: bool) -> dict[str, Any]:
    """Load teacher and corpora, trim the vocabulary and save; return the report and the seconds of trimming only."""
    from datasets import load_dataset  # slow to import, and needed by this stage only

    tokenizer = load_tokenizer("", folder / "teacher")
    model, _ = load_pretrained(AutoModelForMaskedLM, folder / "teacher")
    texts = {
        language: load_dataset(
            "text", data_files=str(folder / f"{language}.txt"), split="train", cache_dir=str(folder / "cache")
        )
        for language in ("source", "target")
    }
    start = time.perf_counter()
    trimmed = trim_vocabulary(model, tokenizer, texts, progress=False)
    seconds = time.perf_counter() - start
    trimmed.model.save_pretrained(folder / "trimmed")
    save_tokenizer(trimmed.tokenizer, folder / "trimmed")
    save_kept_ids(folder / "trimmed", trimmed.kept_ids, len(tokenizer))
    return {"report": trimmed.report.to_dict(), "trim_vocabulary_seconds": seconds}


def build(name: str, folder: Path, quick: bool) -> dict[str, Any]:
    """Load the trimmed teacher, build and save a student of every second layer; return its number of parameters."""
    built = build_student(load_pretrained(AutoModelForMaskedLM, folder / "trimmed")[0], layer_reduction_factor=2)
    built.student.save_pretrained(folder / "student")
    write_alignment(folder / "student", teacher=name, languages=[], layer_map=built.layer_map)
    return {"parameters": sum(p.numel() for p in built.student.parameters())}


def step(name: str, folder: Path, quick: bool) -> dict[str, Any]:
    """Load both models and run one phase-1 step in fp32; return its loss and seconds.

    The step is forward, backward and AdamW on 8 sequences of 256 tokens (quick: 2 of 64).
    """
    teacher, student = (load_pretrained(AutoModelForMaskedLM, folder / each)[0] for each in ("trimmed", "student"))
    layers = read_layer_map(folder / "student")
    assert layers is not None  # the stage `build` wrote the layer map
    distiller = Distiller(student, teacher, layers)
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=1e-4)
    torch.manual_seed(0)
    shape = (2, 64) if quick else (8, 256)
    batch = {"input_ids": torch.randint(5, student.config.vocab_size - 1, shape)}
    start = time.perf_counter()
    terms = distiller(student.train(), batch)
    terms.total.backward()
    optimizer.step()
    return {"loss": terms.total.item(), "step_seconds": time.perf_counter() - start}


STAGES: dict[str, Callable[[str, Path, bool], dict[str, Any]]] = {
    each.__name__: each for each in (prepare, imports, trim, build, step)
}


def run_stage(stage: str, name: str, folder: Path, quick: bool) -> dict[str, Any]:
    """Run a stage; return its result, its seconds and the peak memory of this process, which must run nothing else."""
    start = time.perf_counter()
    result = STAGES[stage](name, folder, quick)
    return {**result, "seconds": time.perf_counter() - start, "peak_bytes": resident_peak()}
