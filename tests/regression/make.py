"""Make the artifacts of a version, which every later version must load: `python tests/regression/make.py [CHECKOUT]`.

Run it once for each release, when its formats are settled, and commit the folder that it writes beside this file, such
as `0.2/`. Older folders stay as they are. `CHECKOUT` is a clone at the version wanted; by default this one.

Everything is made by the launch scripts of the checkout, from made-up words and a random teacher with two layers. The
values that a later version must find are computed from the exported models, by transformers alone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForMaskedLM, AutoModelForTokenClassification, AutoTokenizer

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "support"))
KEY = "seal.key"  # the file, among the artifacts, with the key that signs the run folders
TEXT = "bake lomi suta, renvor."
# How the commands are called, in the folder of the artifacts; `output_dir` is given apart.
GENERAL: dict[str, Any] = {
    "teacher_model": "teacher",
    "source_language": "aa",
    "target_language": "bb",
    "source_file": "aa.txt",
    "target_file": "bb.txt",
    "max_length": 16,
    "max_steps": 40,
    "save_steps": 20,
    "eval_steps": 20,
    "per_device_train_batch_size": 2,
    "learning_rate": 0.01,
    "mlm_weight": 0.1,
    "report_to": "none",
}
NER: dict[str, Any] = {
    "task": "ner",
    "train_file": "aa=ner-train.txt",
    "dev_file": "aa=ner-dev.txt",
    "max_length": 16,
    "full_max_steps": 16,
    "sparse_max_steps": 16,
    "learning_rate": 0.02,
    "density": 0.2,
    "report_to": "none",
}


class Scripts:
    """Runs the launch scripts of a checkout in the current folder."""

    def __init__(self, checkout: Path, cache: Path) -> None:
        self.checkout = checkout
        more = {"PYTHONPATH": f"{checkout}:{checkout / 'kernels'}", "BISTIL_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
        self.environment = {**os.environ, **more, "HF_HUB_OFFLINE": "1", "BISTIL_SEAL_KEY": KEY}

    def run(self, script: str, *words: str, **flags: Any) -> None:
        subprocess.run(self._words(script, words, flags), env=self.environment, check=True)

    def kill(self, script: str, until: Path, **flags: Any) -> None:
        """Run a script and kill it as soon as the file `until` is there."""
        process = subprocess.Popen(self._words(script, (), flags), env=self.environment, start_new_session=True)
        while not until.is_file() and process.poll() is None:
            time.sleep(0.001)
        assert process.poll() is None, f"{script} ended before it could be killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _words(self, script: str, words: tuple[str, ...], flags: dict[str, Any]) -> list[str]:
        named = [word for name, value in flags.items() for word in (f"--{name}", *str(value).split())]
        return [sys.executable, str(self.checkout / script), *words, *named]


def make(scripts: Scripts) -> None:
    """Fill the current folder, which is empty: inputs, then what each command makes of them."""
    import tiny

    Path(KEY).write_text("the key of the artifacts, which nothing else should use\n", encoding="ascii")
    Path(KEY).chmod(0o600)
    tokenizer = tiny.unigram_tokenizer(60)
    teacher = tiny.xlmr(len(tokenizer), layers=2, width=8)
    torch.nn.init.normal_(teacher.lm_head.bias)
    teacher.save_pretrained("teacher")
    tokenizer.save_pretrained("teacher")
    tiny.write_texts(Path(), 40)
    for name, seed in (("train", 1), ("dev", 2), ("test", 3)):
        tiny.write_entities(Path(f"ner-{name}.txt"), 20, seed)
    sealed = Path("interrupted", "checkpoint-20", "complete.json")
    scripts.kill("launch_scripts/general.py", sealed, **GENERAL, output_dir="interrupted")
    scripts.run("launch_scripts/general.py", **GENERAL, output_dir="student")
    scripts.run("launch_scripts/teacher.py", model="teacher", **NER, output_dir="teacher-sft")
    models = {"student": "student", "teacher_model": "teacher", "teacher_sft": "teacher-sft"}
    scripts.run("launch_scripts/task.py", **models, **NER, output_dir="student-sft")
    test = {"model": "teacher=teacher+teacher-sft student=student+student-sft", "test_file": "aa=ner-test.txt"}
    scripts.run("launch_scripts/evaluate.py", task="ner", **test, resamples=50, output_dir="evaluation")
    scripts.run("benchmarks/flops.py", "--quick", output_dir="benchmarks")
    scripts.run("launch_scripts/export.py", model="student", sft="student-sft", output_dir="exported")
    content = {"general": GENERAL, "text": TEXT, **expected()}
    Path("expected.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    remove_bulk()


def expected() -> dict[str, Any]:
    """Return the ids of `TEXT`, and for its second token the logits of the student and of its task model."""
    inputs = AutoTokenizer.from_pretrained("student")([TEXT], return_tensors="pt")
    found: dict[str, Any] = {"input_ids": inputs["input_ids"][0].tolist()}
    kinds = {"student": AutoModelForMaskedLM, "exported": AutoModelForTokenClassification}
    for folder, kind in kinds.items():
        model = kind.from_pretrained(folder).eval()
        with torch.no_grad():
            found[folder] = model(**inputs).logits[0, 1].tolist()
    return found


def remove_bulk() -> None:
    """Remove what no later version reads: copies, logs, pictures."""
    for pattern in ("s*/build", "t*/build", "s*/checkpoint-*", "*/stage-*", "*/runs", "exported", "benchmarks/*.*g"):
        for path in Path().glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def forget_checkout(checkout: Path) -> None:
    """Take the path of the checkout out of the commands that the records keep; no seal lists these files."""
    for name in ("run.json", "evaluation.json"):
        for path in Path().glob(f"*/{name}"):
            path.write_text(path.read_text(encoding="utf-8").replace(f"{checkout}/", ""), encoding="utf-8")


def main(checkout: str | Path = HERE.parents[1]) -> None:
    scripts_of = Path(checkout).resolve()
    project = tomllib.loads((scripts_of / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name = ".".join(project["version"].split(".")[:2])
    with tempfile.TemporaryDirectory(prefix="bistil-") as scratch:
        folder = Path(scratch, name)
        folder.mkdir()
        os.chdir(folder)
        make(Scripts(scripts_of, Path(scratch, "cache")))
        forget_checkout(scripts_of)
        os.chdir(HERE)
        shutil.copytree(folder, HERE / name)
    print(f"{name}: {sum(path.stat().st_size for path in (HERE / name).rglob('*') if path.is_file()):,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
