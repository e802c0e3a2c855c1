"""Make the artifacts of the present version, which every later version must load: `python tests/regression/make.py`.

Run it once for each release, when its formats are settled, and commit the folder that it writes beside this file,
such as `0.2/`. Older folders stay as they are. Everything is made by the commands' own functions, from a random teacher
with two layers and from made-up words.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "support")]
LENGTH, STEPS, SAVED = 16, 4, 2  # tokens in a chunk; optimiser steps of phase 1; the step of its checkpoint
TEXT = "bake lomi suta, renvor."
# How phase 1 is called, in the folder of the artifacts; `output_dir` is given apart.
PHASE_1: dict[str, Any] = {
    "teacher_model": "teacher",
    "source_language": "aa",
    "target_language": "bb",
    "source_file": "aa.txt",
    "target_file": "bb.txt",
    "max_length": LENGTH,
    "max_steps": STEPS,
    "save_steps": SAVED,
    "eval_steps": SAVED,
    "per_device_train_batch_size": 2,
    "learning_rate": 0.01,
    "mlm_weight": 0.1,
    "report_to": ["none"],
}
NER: dict[str, Any] = {
    "task": "ner",
    "train_file": ["aa=ner-train.txt"],
    "dev_file": ["aa=ner-dev.txt"],
    "max_length": LENGTH,
    "full_max_steps": 16,
    "sparse_max_steps": 16,
    "learning_rate": 0.02,
    "density": 0.2,
    "report_to": ["none"],
}


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def make(folder: Path) -> None:
    """Fill the new `folder`, which is the current one: inputs, then what each command makes of them."""
    import tiny

    from bistil_ds import distil_general, distil_task, tune_teacher
    from bistil_ds.benchmarking import run_benchmark
    from bistil_ds.commands import evaluate
    from bistil_ds.distillation.trainer import DistillationTrainer

    tokenizer = tiny.unigram_tokenizer(60)
    tiny.xlmr(len(tokenizer), layers=2, width=8).save_pretrained("teacher")
    tokenizer.save_pretrained("teacher")
    tiny.write_texts(folder, 40)
    for name, seed in (("train", 1), ("dev", 2), ("test", 3)):
        tiny.write_entities(folder / f"ner-{name}.txt", 20, seed)
    with mock.patch.object(DistillationTrainer, "on_saved", side_effect=Killed), contextlib.suppress(Killed):
        distil_general(**PHASE_1, output_dir="interrupted")
    distil_general(**PHASE_1, output_dir="student")
    tune_teacher(model="teacher", **NER, output_dir="teacher-sft")
    task = {**NER, "student": "student", "teacher_model": "teacher", "teacher_sft": ["teacher-sft"]}
    distil_task(**task, output_dir="student-sft")
    words = ["--model", "teacher=teacher+teacher-sft", "student=student+student-sft", "--task", "ner"]
    words += ["--test_file", "aa=ner-test.txt", "--resamples", "50", "--output_dir", "evaluation"]
    assert evaluate.main(words) == 0
    assert run_benchmark.main("flops", ["--quick", "--output_dir", "benchmarks"]) == 0
    remove_bulk(folder)
    Path("expected.json").write_text(json.dumps(expected(), indent=1) + "\n", encoding="utf-8")


def remove_bulk(folder: Path) -> None:
    """Leave out what no later version reads: copies, logs and pictures."""
    for run in ("student", "teacher-sft", "student-sft"):
        for part in ("build", "runs", "checkpoint-*", "stage-*"):
            for path in folder.glob(f"{run}/{part}"):
                shutil.rmtree(path)
    shutil.rmtree(folder / "interrupted" / "runs", ignore_errors=True)
    for path in (*folder.glob("benchmarks/*.svg"), *folder.glob("benchmarks/*.png")):
        path.unlink()


def expected() -> dict[str, Any]:
    """Return what the artifacts in the current folder give, as a later version must find it."""
    import torch

    from bistil_ds.models.weight_files import hash_weights
    from bistil_ds.tasks import find_task
    from bistil_ds.tasks.models import load_task_model

    found: dict[str, Any] = {"phase_1": PHASE_1, "text": TEXT, "weights_sha256": hash_weights("student")}
    for name, sfts, task in (("mlm", [], "mlm"), ("ner", ["student-sft"], "ner")):
        loaded = load_task_model("student", sfts, find_task(task))
        inputs = loaded.tokenizer([TEXT], return_tensors="pt")
        with torch.no_grad():
            logits = loaded.model(**inputs).logits[0]
        found["input_ids"] = inputs["input_ids"][0].tolist()
        found[name] = {"labels": list(loaded.labels), "logits_of_second_token": logits[1].tolist()}
    return found


def main() -> None:
    name = ".".join(version("bistil-ds").split(".")[:2])
    target = HERE / name
    with tempfile.TemporaryDirectory(prefix="bistil-") as scratch:
        folder = Path(scratch) / name
        folder.mkdir()
        os.environ["BISTIL_CACHE"] = str(Path(scratch) / "cache")
        os.chdir(folder)
        make(folder)
        os.chdir(HERE)
        shutil.copytree(folder, target)
    print(f"{target}: {sum(p.stat().st_size for p in target.rglob('*') if p.is_file()):,} bytes")


if __name__ == "__main__":
    main()
