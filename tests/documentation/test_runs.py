"""Follow README, recipes and the page on Python from top to bottom, with the files that they name, made tiny."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from documented_commands import main_of
from documents import DOCUMENTS, REPOSITORY, Block, blocks, commands
from launch import command

from bistil_ds.distributed.startup import free_port

PAGES = {path.stem: path for path in DOCUMENTS}
TEACHER = "FacebookAI/xlm-roberta-base"  # stands for the tiny teacher `mmt`
NOT_RUN = {"make", "pip", "."}  # they set up the environment that this test runs in
OF_GPUS = set() if torch.cuda.is_available() else {"--cuda_graphs"}  # refused elsewhere

PHASE_1: dict[str, Any] = {"max_steps": 2, "max_length": 32, "eval_steps": 2, "disable_tqdm": True}
TUNING: dict[str, Any] = {
    "full_max_steps": 2,
    "sparse_max_steps": 2,
    "max_length": 32,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "save_strategy": "steps",
    "save_steps": 2,
    "disable_tqdm": True,
}
SHORT = {"general": PHASE_1, "teacher": TUNING, "task": TUNING}
PYTHON_CHANGES = {  # what is read from the hub, and what takes long
    TEACHER: "mmt",
    "layer_reduction_factor=2,\n    output_dir": "layer_reduction_factor=2, **PHASE_1,\n    output_dir",
    'files = {"task"': 'files = {**TUNING, "task"',
    "teacher, tokenizer = ...": "teacher, tokenizer = TEACHER, TOKENIZER",
    "trimmed.tokenizer, 256": "trimmed.tokenizer, 32",
    "max_steps=2000": "max_steps=2",
}

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the present folder: it has every file that the pages name, and looks like a clone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for folder in ("launch_scripts", "ds_configs"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    tiny.write_teacher(tmp_path / "mmt", layers=6)
    for language, other in (("en", "aa"), ("tr", "bb")):
        for name, lines, seed in ((language, 300, 0), (f"{language}-dev", 40, 1)):
            text = "\n".join(tiny.text_lines(other, lines, seed))
            (tmp_path / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
        (tmp_path / language).mkdir()
        for seed, part in enumerate(("train", "dev", "test")):
            tiny.write_entities(tmp_path / language / f"{part}.txt", 24, seed, language=other)
    return tmp_path


def follow(page: str, place: Path) -> list[str]:
    """Run every command and every Python block of a page, in order; return the scripts that were run."""
    done: list[str] = []
    for block in blocks(PAGES[page]):
        if block.kind == "python":
            run_python(block)
        for words in commands(block) if block.kind == "indented" else ():
            if words[0] not in NOT_RUN:
                done.append(run(words, place))
    return done


def run_python(block: Block) -> None:
    text = block.text
    for found, put in PYTHON_CHANGES.items():
        text = text.replace(found, put)
    tokenizer = tiny.unigram_tokenizer()
    given = {"TEACHER": tiny.xlmr(len(tokenizer)), "TOKENIZER": tokenizer, "PHASE_1": PHASE_1, "TUNING": TUNING}
    exec(compile(text, str(block), "exec"), given)


def run(words: Sequence[str], place: Path) -> str:
    """Run one command: in this process if it is plain Python, else by the launcher, on one rank."""
    if words[0] == "tensorboard":
        assert list(Path(words[-1]).rglob("events.out.tfevents.*")), f"{words[-1]} has no log for {' '.join(words)}"
        return "tensorboard"
    at = next(n for n, word in enumerate(words) if word.endswith(".py"))
    script = Path(words[at]).stem
    lengths = SHORT.get(script, {})
    if "--dense" in words:
        lengths = {name: value for name, value in lengths.items() if not name.startswith("full_")}
    short = [word for name, value in lengths.items() for word in (f"--{name}", str(value))]
    flags = [word.replace(TEACHER, "mmt") for word in words[at + 1 :] if word not in OF_GPUS] + short
    if words[0] == "python":
        assert main_of(words[at])(flags) == 0, " ".join(words)
        return script
    launcher = [word if word != "2" else "1" for word in words[1:at]]  # one rank: several are tested elsewhere
    assert words[0] == "deepspeed"
    _, environment = command(cache=place / "cache")
    given = [sys.executable, "-m", "deepspeed.launcher.runner", "--master_port", str(free_port()), *launcher]
    ended = subprocess.run(
        [*given, words[at], *flags], capture_output=True, text=True, timeout=600, env=environment, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return script


def test_the_readme_can_be_followed_to_a_folder_that_transformers_loads(place: Path) -> None:
    assert follow("README", place) == ["general", "tensorboard", "teacher", "task", "evaluate", "export"]
    assert (place / "en-tr-ner" / "model.onnx").is_file()


def test_the_recipes_can_be_followed_after_the_readme_has_made_a_teacher(place: Path) -> None:
    teacher = [words for block in blocks(PAGES["README"]) for words in commands(block) if "ner-teacher" in words[-1]]
    assert run(teacher[0], place) == "teacher"
    assert follow("recipes", place) == ["teacher", *["general"] * 4, *["task"] * 2, "trim"]


def test_the_page_on_trimming_can_be_followed(place: Path) -> None:
    assert follow("trimming", place) == ["trim", "trim", "trim"]
    assert (place / "xlm-r-tr" / "model.safetensors").is_file()
    assert (place / "xlm-r-tr-again" / "model.safetensors").is_file()


def test_the_page_on_python_can_be_followed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    follow("python", place)
    assert "Estimate(value=" in capsys.readouterr().out
    assert (place / "runs" / "en-tr" / "model.safetensors").is_file()
