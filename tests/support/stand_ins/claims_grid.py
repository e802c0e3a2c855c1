"""A small grid of the claims benchmark whose commands are not run: each leaves the files of a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bistil_ds.benchmarking.claims.runner import Runner

SYSTEMS = {"teacher": 0.8, "trimmed": 0.8, "k2": 0.78, "untrained": 0.6, "scratch": 0.4, "rival": 0.5}  # → score
SETTINGS = """
languages: [en, de, tr]
text: text/{language}.txt
resamples: 40
latency: {batch: 8}
phase_1: {max_steps: 600}
head: {steps: 5}
scratch: {steps: 7}
systems:
  teacher: {kind: teacher, label: teacher}
  trimmed: {kind: trimmed, label: trimmed teacher}
  k2: {label: student}
  untrained: {kind: untrained, of: k2, label: no phase 1}
  scratch: {kind: scratch, of: k2, label: from scratch}
  rival: {label: rival, languages: all, budget: language, head: true, phase_1: {preset: distilmbert}}
tasks:
  ner:
    train: [train.txt]
    dev: dev.txt
    test: {en: en.txt, de: de.txt, tr: tr.txt}
    label_map: [DATE=O]
    teacher: {sparse_max_steps: 9}
    student: {full_max_steps: 4, sparse_max_steps: 8}
  pos: {train: [a, b], dev: d, test: {en: e, de: f}, teacher: {}, student: {}}
roles: {teacher: teacher, student: k2, rivals: [rival], scratch: scratch}
grid:
  - {targets: [de], tasks: [ner, pos], seeds: [0, 1], systems: [teacher, trimmed, k2, untrained, scratch, rival]}
"""


def pretend_commands(monkeypatch: pytest.MonkeyPatch, fails: str = "") -> list[list[str]]:
    """Let every command of a grid leave the files of a finished run; return the words of each command that ran.

    A command with the word `fails` leaves nothing, and has the exit code 7.
    """
    ran: list[list[str]] = []

    def run(self: Runner, words: list[str]) -> int:
        ran.append(words)
        script = words[0]
        if fails in words:
            return 7
        folder = Path(words[words.index("--output_dir") + 1])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
        save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
        stages = {"stages": [{"tokens": 1e6, "flops": 1e15}, {"tokens": 2e6, "flops": 1e15}]}
        results = stages if script in ("teacher", "task") else {"tokens": 5e6, "flops": 4e15}
        (folder / "run.json").write_text(json.dumps({"finished": "now", "results": results}))
        if script == "evaluate":
            (folder / "evaluation.json").write_text(json.dumps(evaluation(words)))
        return 0

    monkeypatch.setattr(Runner, "_wait", run)
    return ran


def evaluation(words: list[str]) -> dict[str, Any]:
    """Return what `evaluate.py` would write: a score a system, with noise and seeds that all systems share."""
    name = words[words.index("--model") + 1].partition("=")[0]
    tests = words[words.index("--test_file") + 1 : words.index("--task")]
    languages = [word.partition("=")[0] for word in tests]
    seed = int(words[words.index("--output_dir") + 1].split("-")[-2])
    found = {}
    for number, language in enumerate(languages):  # a number for English that no table must take for the target's
        share = 0.01 if language == "en" else 1 + 0.05 * seed  # all systems are better with seed 1
        noise_R = np.random.default_rng([number, seed]).normal(0, 0.01, 40)
        value = share * SYSTEMS.get(name, 0.7)
        found[language] = {
            "score": {"f1": {"value": value, "low": value - 0.02, "high": value + 0.02}},
            "resampled": (value * (1 + noise_R)).round(6).tolist(),
        }
    model = {"parameters": 1000 if name in ("teacher", "trimmed") else 400, "languages": found}
    held = {"sha256": "0", "examples": 100, "seen_in_training": 0.0}
    return {
        "metric": "f1",
        "models": {name: model},
        "test_sets": dict.fromkeys(languages, held),
        "bootstrap": {"resamples": 40, "seed": 0, "confidence": 0.95},
        "run": {"started": "then"},
    }


def latency_record(folder: Path, **ratios: float) -> Path:
    """Write a record of latency.py: the step of a grid → its time over the teacher's; names with `_` for `-`."""

    def row(name: str, ratio: float) -> dict[str, Any]:
        case = {"engine": "eager", "dtype": "float32", "batch": 8, "length": 128, "threads": 2}
        found = {"median": ratio, "low": ratio * 0.9, "high": ratio * 1.1}
        return {"model": name.replace("_", "-"), "reference": "teacher", "control": False, **case, "ratio": found}

    path = folder / "latency-cpu-x86_64-20260101-000000.json"
    rows = [row(name, ratio) for name, ratio in {"teacher": 1.0, **ratios}.items()]
    path.write_text(json.dumps({"benchmark": "latency", "rows": rows}))
    return path


def write_grid(folder: Path) -> list[str]:
    """Write the settings and empty files for all that they name; return the flags of the command."""
    (folder / "text").mkdir(parents=True)
    for name in ("train.txt", "dev.txt", "en.txt", "de.txt", "tr.txt", *"abdef"):
        (folder / name).touch()
    for language in ("en", "de", "tr"):
        (folder / "text" / f"{language}.txt").touch()
    (folder / "grid.yaml").write_text(SETTINGS)
    out = ["--output_dir", str(folder / "out")]
    return ["--teacher", "mmt", "--data_dir", str(folder), "--config", str(folder / "grid.yaml"), *out]


def record_of(folder: Path) -> Path:
    """Return the record of the grid that `write_grid` wrote to this folder."""
    (path,) = (folder / "out").glob("claims-cpu-*.json")
    return path
