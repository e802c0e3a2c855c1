"""Hash what every command makes from a tiny teacher, to show that a change of the code changes no bit of it.

    python tests/support/bits.py record DIR      run every command in DIR, write DIR/bits.json
    python tests/support/bits.py check DIR       run every command again elsewhere, compare with DIR/bits.json
    python tests/support/bits.py resume DIR      finish copies of the runs that `record` left unfinished in DIR, compare

`record` needs an empty DIR. DIR must stay where it is, since its runs refer to each other by path. Hashes are equal
only on the same machine with the same versions of the libraries.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tiny
from launch import command

RANKS = (1, 2)
MODEL = "model.safetensors"
SFT = "sft.safetensors"


def record(folder: Path) -> None:
    """Run every command in `folder`; then run phases 1 and 2 once more, and kill them at a checkpoint."""
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder}: not empty")
    write_material(folder)
    found = run_all(folder, folder)
    for ranks in RANKS:
        kill_at(
            folder / f"unfinished-general-{ranks}", phase_1(folder, ranks), "checkpoint-4", ranks, "general", folder
        )
        kill_at(folder / f"unfinished-task-{ranks}", phase_2(folder, ranks), "checkpoint-2", ranks, "task", folder)
    (folder / "bits.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


def check(folder: Path) -> int:
    """Run every command again, on products of `record`'s earlier commands; return 1 if a product differs, else 0."""
    with tempfile.TemporaryDirectory() as scratch:
        return compare(run_all(folder, Path(scratch)), read(folder))


def resume(folder: Path) -> int:
    """Finish copies of the killed runs; return 1 if a product differs from that of the same run not killed, else 0."""
    found, expected = {}, read(folder)
    with tempfile.TemporaryDirectory() as scratch:
        for ranks in RANKS:
            for script, flags in (("general", phase_1(folder, ranks)), ("task", phase_2(folder, ranks))):
                name = f"{script}-{ranks}"
                out = Path(scratch) / name
                shutil.copytree(folder / f"unfinished-{name}", out)
                more = [
                    "--resume_from_checkpoint",
                    "true",
                    "--trust_checkpoint",
                ]  # perhaps begun by 0.1
                run(script, out, [*flags, *more], ranks, folder)
                found[name] = product(out)
    return compare(found, {name: expected[name] for name in found})


def compare(found: dict[str, str], expected: dict[str, str]) -> int:
    """Print a line for each product; return 1 if one differs, else 0."""
    for name, value in expected.items():
        print(f"{'same     ' if found.get(name) == value else 'DIFFERENT'} {name} {value[:16]}")
    return int(found != expected)


def read(folder: Path) -> dict[str, str]:
    """Return the hashes that `record` wrote."""
    found: dict[str, str] = json.loads((folder / "bits.json").read_text(encoding="utf-8"))
    return found


def write_material(folder: Path) -> None:
    """Write two texts, a teacher of four layers, and tagged sentences; words that begin with `ba` are entities."""
    (folder / "texts").mkdir(parents=True)
    tiny.write_texts(folder / "texts", 500)
    tiny.write_teacher(folder / "mmt")
    for part, seed in (("train", 1), ("dev", 2), ("test", 3)):
        lines = tiny.text_lines("aa", 60 if part == "train" else 15, seed)
        blocks = ["".join(f"{w}\t{'B-PER' if w.startswith('ba') else 'O'}\n" for w in line.split()) for line in lines]
        random.Random(seed).shuffle(blocks)
        (folder / f"{part}.txt").write_text("\n".join(blocks) + "\n", encoding="utf-8")


def phase_1(material: Path, ranks: int) -> list[object]:
    """Return the flags of general.py."""
    flags: list[object] = ["--teacher_model", material / "mmt", "--source_language", "aa", "--target_language", "bb"]
    flags += ["--source_file", material / "texts" / "aa.txt", "--target_file", material / "texts" / "bb.txt"]
    flags += ["--max_length", 32, "--per_device_train_batch_size", 4 // ranks, "--gradient_accumulation_steps", 2]
    flags += ["--max_steps", 8, "--logging_steps", 1, "--eval_steps", 4, "--save_steps", 4, "--mlm_weight", 0.1]
    return [*flags, "--logit_weight", 0.5, "--hidden_reduction_factor", 2, "--deepspeed", "zero2"]


def tuning(material: Path) -> list[object]:
    """Return the flags that teacher.py and task.py share."""
    flags: list[object] = ["--task", "ner", "--train_file", f"aa={material / 'train.txt'}"]
    flags += ["--dev_file", f"aa={material / 'dev.txt'}", "--max_length", 64, "--learning_rate", 1e-3]
    flags += ["--full_max_steps", 4, "--sparse_max_steps", 4, "--eval_strategy", "steps", "--eval_steps", 2]
    return [*flags, "--save_strategy", "steps", "--save_steps", 2]


def phase_2(material: Path, ranks: int) -> list[object]:
    """Return the flags of task.py, for the student that general.py made on the same number of ranks."""
    flags: list[object] = ["--student", material / f"general-{ranks}", "--teacher_model", material / "mmt"]
    flags += ["--teacher_sft", material / "teacher", "--per_device_train_batch_size", 4 // ranks]
    return [*flags, *tuning(material), "--deepspeed", "zero2"]


def run_all(material: Path, out: Path) -> dict[str, str]:
    """Run every command in `out` and return the hash of each product by the name of its run."""
    runs: list[tuple[str, str, list[object], int]] = [
        ("pretrain", "pretrain", ["--input_folder", material / "texts", "--steps", 8, "--vocab_size", 150], 1),
        ("teacher", "teacher", ["--model", material / "mmt", "--per_device_train_batch_size", 4, *tuning(material)], 1),
    ]
    runs += [(f"general-{ranks}", "general", phase_1(material, ranks), ranks) for ranks in RANKS]
    runs += [(f"task-{ranks}", "task", phase_2(material, ranks), ranks) for ranks in RANKS]
    student = ["--sft", material / "task-1", "--model", material / "general-1"]
    runs += [("export", "export", list(student), 1)]
    model = f"student={material / 'general-1'}+{material / 'task-1'}"
    runs += [
        ("evaluate", "evaluate", ["--model", model, "--task", "ner", "--test_file", f"aa={material / 'test.txt'}"], 1)
    ]
    found = {"sample": sample_hash(out)}
    for name, script, flags, ranks in runs:
        run(script, out / name, flags, ranks, material)
        found[name] = product(out / name)
    return found


def run(script: str, out: Path, flags: list[object], ranks: int, cache: Path) -> None:
    """Run one command; raise SystemExit with the end of its error output if it fails."""
    words, environment = command(*flags, *output(script, out), ranks=ranks, cache=cache / "cache", script=script)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{script} ended with {done.returncode}:\n{done.stderr[-3000:]}")


def kill_at(out: Path, flags: list[object], checkpoint: str, ranks: int, script: str, cache: Path) -> None:
    """Start a command and kill it as soon as `checkpoint` has its seal."""
    words, environment = command(*flags, *output(script, out), ranks=ranks, cache=cache / "cache", script=script)
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(words, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)
    until = time.monotonic() + 300
    while not list(out.glob(f"**/{checkpoint}/complete.json")):
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"{script} could not be killed at {checkpoint}")
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def output(script: str, out: Path) -> list[object]:
    """Return `--output_dir`, and the flags that turn logs and progress bars off if the command has them."""
    quiet: list[object] = ["--report_to", "none", "--disable_tqdm", "true"]
    return ["--output_dir", out, *(quiet if script in ("general", "teacher", "task") else [])]


def product(out: Path) -> str:
    """Return the hash of a run's model or SFT, else of its scores."""
    for name in (MODEL, SFT):
        if (out / name).is_file():
            return hashlib.sha256((out / name).read_bytes()).hexdigest()
    models: Any = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))["models"]
    scores = {name: {k: v["score"] for k, v in model["languages"].items()} for name, model in models.items()}
    return hashlib.sha256(json.dumps(scores, sort_keys=True).encode()).hexdigest()


def sample_hash(out: Path) -> str:
    """Return the hash of the embedded sample's sentences in its three languages."""
    from bistil_ds.sample import write_text

    paths = write_text(out / "sample", 300, 5)
    return hashlib.sha256(b"".join(paths[language].read_bytes() for language in sorted(paths))).hexdigest()


if __name__ == "__main__":
    action, place = sys.argv[1:3]
    raise SystemExit({"record": record, "check": check, "resume": resume}[action](Path(place).resolve()))
