"""Write two tiny models for the task of `tiny_task`, and test files; one model is a base with its SFT."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny import text_lines, write_teacher
from tiny_task import Topics

from bistil_ds.models.weight_files import hash_weights
from bistil_ds.sft.changes import SparseDiff
from bistil_ds.sft.fine_tuning import SparseFineTuning

LABELS = ("news", "sport")


@dataclass(frozen=True)
class Files:
    """A base without task head, the SFT that makes it a task model, a finished task model, and language → test file."""

    base: Path
    sft: Path
    finished: Path
    tests: dict[str, Path]


def write_task_file(path: Path, language: str, lines: int, seed: int) -> Path:
    draw = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{draw.choice(LABELS)}\t{text}\n" for text in text_lines(language, lines, seed)))
    return path


def write_sft(folder: Path, base: Path, **metadata: object) -> Path:
    """Write an SFT of `base`: 200 changed weights, and a random head unless `headless`; return `folder`."""
    model = Topics().load_model(base, LABELS)
    name, weight = next((n, p) for n, p in model.named_parameters() if n.endswith("layer.0.output.dense.weight"))
    torch.manual_seed(1)
    diff = SparseDiff(tuple(weight.shape), torch.arange(200), torch.randn(200))
    dense = {n: torch.randn_like(p) for n, p in model.named_parameters() if n.startswith("classifier")}
    header = {"base_hash": hash_weights(base), "task": "topics", "labels": list(LABELS), "max_length": 16}
    header |= metadata
    SparseFineTuning("s", {name: diff}, {} if header.pop("headless", False) else dense, header).save(folder)
    return folder


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("evaluation")
    base = write_teacher(folder / "base", layers=2, width=16)
    finished = write_teacher(folder / "finished", layers=1, width=16, seed=4)
    torch.manual_seed(7)
    Topics().load_model(finished, LABELS).save_pretrained(finished)
    tests = {n: write_task_file(folder / n / "test.tsv", n, 40 if n == "aa" else 25, seed=3) for n in ("aa", "bb")}
    return Files(base, write_sft(folder / "sft", base), finished, tests)
