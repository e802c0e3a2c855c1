"""Good texts and a good teacher, and beside them bad files of many kinds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import tiny
import torch
from transformers import GPT2Config

from bistil_ds.sft.changes import SparseDiff
from bistil_ds.sft.fine_tuning import SparseFineTuning


def write_bad_files(folder: Path) -> None:
    """Write good texts, a good teacher (4 layers, width 32, 2 heads, 64 tokens), and bad files of many kinds."""
    tiny.write_texts(folder)
    teacher = tiny.write_teacher(folder / "teacher")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "blank.txt").write_bytes(b"\n  \n")
    (folder / "latin1.txt").write_bytes("fine\nalso fine\ncaf\xe9\n".encode("latin-1"))
    (folder / "short.txt").write_text("\n".join(tiny.text_lines("aa", 12)), encoding="utf-8")
    (folder / "broken.jsonl").write_text('{"text": "one"}\n{"text": \n', encoding="utf-8")
    shutil.copy(folder / "aa.txt", folder / "same.txt")
    GPT2Config(n_layer=2).save_pretrained(folder / "gpt2")
    (folder / "nothing").mkdir()
    shutil.copytree(teacher, folder / "cut short")
    weights = folder / "cut short" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    shutil.copytree(teacher, folder / "no weights")
    (folder / "no weights" / "model.safetensors").unlink()
    shutil.copytree(teacher, folder / "no tokenizer")
    for path in (folder / "no tokenizer").glob("*token*"):
        path.unlink()
    SparseFineTuning("x", {"no.such.weight": _diff((4, 4))}).save(folder / "sft of another kind")
    SparseFineTuning("x", {"roberta.embeddings.word_embeddings.weight": _diff((9, 9))}).save(folder / "sft of a size")
    name = "roberta.encoder.layer.0.output.dense.weight"
    other = {"base_model": "another", "base_hash": "0" * 64}
    SparseFineTuning("x", {name: _diff((32, 64))}, metadata=other).save(folder / "sft of another base")
    (folder / "not.json").write_text("{stage: 2", encoding="utf-8")
    (folder / "list.json").write_text("[2]", encoding="utf-8")
    (folder / "deep.json").write_text('{"zero_optimization": ' + "[" * 100_000, encoding="utf-8")
    (folder / "infinite.json").write_text('{"gradient_clipping": 1e400}', encoding="utf-8")
    for name in ("kept_ids.json", "distillation.json", "origin.json", "config.json"):
        shutil.copytree(teacher, folder / f"deep {name}")
        (folder / f"deep {name}" / name).write_text("[" * 100_000, encoding="utf-8")
    contradictions = {
        "batch": {"train_micro_batch_size_per_gpu": 16},
        "clip": {"gradient_clipping": 5.0},
        "bf16": {"bf16": {"enabled": True}},
        "lr": {"optimizer": {"type": "AdamW", "params": {"lr": 0.5}}},
        "stage": {"zero_optimization": {"stage": 7}},
        "no_stage": {"zero_optimization": 2},
    }
    for key, content in contradictions.items():
        (folder / f"{key}.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "full").mkdir()
    (folder / "full" / "thesis.tex").write_text("years of work", encoding="utf-8")
    (folder / "earlier run").mkdir()
    (folder / "earlier run" / "run.json").write_text("{}", encoding="utf-8")
    (folder / "unknown.yaml").write_text("layer_reduction: 2\n", encoding="utf-8")
    (folder / "list.yaml").write_text("- a\n", encoding="utf-8")
    (folder / "not.yaml").write_text("a: [1\n", encoding="utf-8")


def _diff(shape: tuple[int, ...]) -> SparseDiff:
    return SparseDiff(shape, torch.tensor([1, 3]), torch.tensor([0.5, -0.5]))
