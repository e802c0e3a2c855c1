"""Bad input ends before training: one line that says what, where and what to do, exit code 2, nothing touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from bad_files import write_bad_files
from launch import general, without_bars

from bistil_ds.commands.general import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad input")  # the name has a space, as users' folders do
    write_bad_files(folder)
    return folder


@pytest.fixture
def place(material: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make the material the current folder, offline and with a cache elsewhere; restore the environment afterwards."""
    monkeypatch.chdir(material)
    with patch.dict(os.environ):
        os.environ.update(BISTIL_CACHE=str(tmp_path_factory.getbasetemp() / "cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield material


GOOD = {
    "--teacher_model": "teacher",
    "--source_file": "aa.txt",
    "--target_file": "bb.txt",
    "--source_language": "aa",
    "--target_language": "bb",
    "--max_length": "32",
    "--max_steps": "4",
    "--output_dir": "runs/new",
}
CASES: dict[str, tuple[dict[str, str | None], list[str]]] = {
    "no such text": ({"--source_file": "cc.txt"}, ["--source_file", "cc.txt", "no file"]),
    "a folder without text": ({"--source_file": "nothing"}, ["--source_file", "nothing", "holds no files"]),
    "a folder of other files": (
        {"--source_file": "full"},
        ["--source_file", "full/thesis.tex", "lies among the texts"],
    ),
    "empty text": ({"--target_file": "empty.txt"}, ["--target_file", "empty.txt", "no text"]),
    "blank text": ({"--target_file": "blank.txt"}, ["--target_file", "blank.txt", "no text"]),
    "text not UTF-8": ({"--source_file": "latin1.txt"}, ["--source_file", "latin1.txt", "line 3", "UTF-8"]),
    "broken JSONL": ({"--source_file": "broken.jsonl"}, ["--source_file", "broken.jsonl", "line 2", "JSON"]),
    "too little text": (
        {"--source_file": "short.txt", "--per_device_train_batch_size": "64"},
        ["--source_file short.txt", "64", "smaller batch"],
    ),
    "one text for both": ({"--target_file": "aa.txt"}, ["--source_file", "--target_file", "the same text"]),
    "a copy of the text": ({"--target_file": "same.txt"}, ["--source_file", "--target_file", "the same text"]),
    "one language twice": ({"--target_language": "aa"}, ["--target_language aa", "source language"]),
    "a flag left out": ({"--target_file": None}, ["--target_file missing", "or none"]),
    "no such teacher": ({"--teacher_model": "./techer"}, ["--teacher_model ./techer", "no such folder"]),
    "no such hub teacher": ({"--teacher_model": "a/b"}, ["--teacher_model a/b", "cannot be loaded"]),
    "a folder that is no model": ({"--teacher_model": "nothing"}, ["--teacher_model nothing", "cannot be loaded"]),
    "a GPT-2": ({"--teacher_model": "gpt2"}, ["--teacher_model gpt2", "a model of type 'gpt2'", "give one of bert"]),
    "weights cut short": ({"--teacher_model": "cut short"}, ["--teacher_model cut short", "cannot be loaded"]),
    "no weights": ({"--teacher_model": "no weights"}, ["--teacher_model no weights", "cannot be loaded"]),
    "no tokenizer": ({"--teacher_model": "no tokenizer"}, ["--teacher_model no tokenizer", "tokenizer"]),
    "a layer factor above the layers": ({"--layer_reduction_factor": "5"}, ["--layer_reduction_factor 5", "1 to 4"]),
    "no layer factor": ({"--layer_reduction_factor": "0"}, ["--layer_reduction_factor 0", "at least 1"]),
    "width does not divide": ({"--hidden_reduction_factor": "3"}, ["--hidden_reduction_factor 3", "width 32"]),
    "no width factor": ({"--hidden_reduction_factor": "0"}, ["--hidden_reduction_factor 0", "at least 1"]),
    "heads do not divide": ({"--hidden_reduction_factor": "32"}, ["--hidden_reduction_factor 32", "heads"]),
    "a layer too high": ({"--layer_map": "1,4"}, ["--layer_map 1,4", "0 to 3"]),
    "layers out of order": ({"--layer_map": "3,1"}, ["--layer_map 3,1", "increasing"]),
    "words for layers": ({"--layer_map": "top"}, ["--layer_map top", "1,3,5,11"]),
    "a threshold that keeps nothing": ({"--vocab_threshold": "0.9"}, ["--vocab_threshold 0.9", "would keep no token"]),
    "a threshold above 1": ({"--vocab_threshold": "2"}, ["--vocab_threshold 2.0", "probability"]),
    "no vocabulary": ({"--vocab_size": "0"}, ["--vocab_size 0", "at least 1"]),
    "a vocabulary that is too large": ({"--vocab_size": "999999"}, ["--vocab_size 999999", "at most the 170"]),
    "chunks beyond the model": ({"--max_length": "65"}, ["--max_length 65", "at most 64"]),
    "a negative weight": ({"--hidden_weight": "-1"}, ["--hidden_weight -1", "at least 0", "FROM:TO"]),
    "a weight in words": ({"--mlm_weight": "some"}, ["--mlm_weight some", "FROM:TO"]),
    "no temperature": ({"--temperature": "0"}, ["--temperature 0.0", "above 0"]),
    "everything masked": ({"--mask_probability": "1"}, ["--mask_probability 1.0", "between 0 and 1"]),
    "a licence in words": ({"--teacher_licence": "MIT License"}, ["--teacher_licence MIT License", "cc-by-4.0"]),
    "a licence of other text": ({"--data_licence": "cc=mit"}, ["--data_licence cc=mit", "only of aa, bb"]),
    "no batch": ({"--per_device_train_batch_size": "0"}, ["--per_device_train_batch_size 0", "at least 1"]),
    "no steps": ({"--max_steps": "0"}, ["--max_steps 0", "at least 1"]),
    "a negative learning rate": ({"--learning_rate": "-1e-4"}, ["--learning_rate -0.0001", "above 0"]),
    "saving between validations": ({"--eval_steps": "4", "--save_steps": "3"}, ["3", "not a round multiple of 4"]),
    "a metric that no validation gives": (
        {"--metric_for_best_model": "accuracy"},
        ["--metric_for_best_model accuracy", "loss, aa_loss, bb_loss"],
    ),
    "steps and epochs": ({"--num_train_epochs": "2"}, ["--num_train_epochs 2.0", "--max_steps 4", "leave one"]),
    "two precisions": ({"--fp16": "true", "--bf16": "true"}, ["fp16"]),
    "an unknown logger": ({"--report_to": "papyrus"}, ["papyrus", "tensorboard"]),
    "an unknown flag": ({"--layers": "2"}, ["--layers", "--help"]),
    "a word for a number": ({"--max_steps": "many"}, ["--max_steps", "many", "--help"]),
    "an unknown choice": ({"--attention_loss": "cosine"}, ["--attention_loss", "cosine", "mse", "kl"]),
    "an SFT that is none": ({"--source_sft": "nothing"}, ["--source_sft", "nothing", "not an SFT"]),
    "no such SFT": ({"--target_sft": "./sft"}, ["--target_sft", "./sft"]),
    "an SFT of another kind": ({"--source_sft": "sft of another kind"}, ["--source_sft", "no.such.weight"]),
    "an SFT of another size": ({"--target_sft": "sft of a size"}, ["--target_sft", "9×9", "170×32", "another model"]),
    "an SFT of another base": (
        {"--target_sft": "sft of another base"},
        ["--target_sft", "made for another"],
    ),
    "a width for a student that has one": (
        {"--student": "teacher", "--hidden_reduction_factor": "2"},
        ["--hidden_reduction_factor 2", "--student keeps its own width"],
    ),
    "layers for a student that has them": (
        {"--student": "teacher", "--layer_reduction_factor": "4"},
        ["--layer_reduction_factor 4", "--student keeps its own layers"],
    ),
    "no such student": ({"--student": "./pupil"}, ["--student ./pupil", "no such folder"]),
    "no such DeepSpeed file": ({"--deepspeed": "zero9.json"}, ["--deepspeed zero9.json", "zero2", "zero3_offload"]),
    "a missing DeepSpeed path": ({"--deepspeed": "/x/ds_configs/zero2.json"}, ["--deepspeed /x/", "no such file"]),
    "DeepSpeed not JSON": ({"--deepspeed": "not.json"}, ["--deepspeed", "not.json", "line 1"]),
    "a DeepSpeed list": ({"--deepspeed": "list.json"}, ["--deepspeed", "list.json", "JSON object"]),
    "DeepSpeed too deep": (
        {"--deepspeed": "deep.json"},
        ["--deepspeed", "deep.json", "not JSON", "inside one another"],
    ),
    "DeepSpeed's infinity": ({"--deepspeed": "infinite.json"}, ["--deepspeed", "infinite.json", "1e400"]),
    "ids too deep": ({"--student": "deep kept_ids.json"}, ["kept_ids.json", "not JSON", "or build it again"]),
    "an alignment too deep": (
        {"--student": "deep distillation.json"},
        ["distillation.json", "not JSON", "build the student again"],
    ),
    "an origin too deep": ({"--student": "deep origin.json"}, ["origin.json", "not JSON", "delete it"]),
    "a configuration too deep": (
        {"--teacher_model": "deep config.json"},
        ["--teacher_model", "config.json", "not JSON"],
    ),
    "a name with an escape": (
        {"--teacher_model": "./\x1b[31mred"},
        [r"--teacher_model ./\x1b[31mred", "no such folder"],
    ),
    "a name that is too long": ({"--output_dir": "x" * 300}, ["xxx", "too long"]),
    "DeepSpeed's batch": ({"--deepspeed": "batch.json"}, ["train_micro_batch_size_per_gpu is 16", "is 8", '"auto"']),
    "DeepSpeed's clipping": ({"--deepspeed": "clip.json"}, ["gradient_clipping is 5.0", "--max_grad_norm is 1.0"]),
    "DeepSpeed's precision": ({"--deepspeed": "bf16.json"}, ["bf16.enabled is True", "--bf16 is False"]),
    "DeepSpeed's learning rate": ({"--deepspeed": "lr.json"}, ["optimizer.params.lr is 0.5", "--learning_rate"]),
    "DeepSpeed's stage": ({"--deepspeed": "stage.json"}, ["stage.json", "7", "0, 1, 2 or 3"]),
    "a broken DeepSpeed stage": ({"--deepspeed": "no_stage.json"}, ["no_stage.json", "zero_optimization"]),
    "an output folder in use": ({"--output_dir": "full"}, ["--output_dir full", "not empty", "another folder"]),
    "an output folder of a run": ({"--output_dir": "earlier run"}, ["earlier run", "--resume_from_checkpoint true"]),
    "a file for the output": ({"--output_dir": "aa.txt"}, ["--output_dir aa.txt", "is a file"]),
    "an output below a file": ({"--output_dir": "aa.txt/run"}, ["--output_dir aa.txt/run", "another folder"]),
    "no run to resume": (
        {"--resume_from_checkpoint": "runs/new/checkpoint-4"},
        ["--output_dir runs/new", "no run to resume"],
    ),
    "a folder that is no run": (
        {"--resume_from_checkpoint": "true", "--output_dir": "full"},
        ["--output_dir full", "no run to resume"],
    ),
    "resuming nowhere": ({"--resume_from_checkpoint": "true", "--output_dir": None}, ["needs --output_dir"]),
    "resuming a damaged record": (
        {"--resume_from_checkpoint": "true", "--output_dir": "earlier run"},
        ["earlier run", "run.json", "cannot be resumed"],
    ),
}


def flags(changes: dict[str, str | None]) -> list[str]:
    return [f"{name}={value}" for name, value in {**GOOD, **changes}.items() if value is not None]


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def refused(argv: list[str], capture: Capture, folder: Path) -> str:
    """Run the command, check its exit code, its only line and that nothing changed in `folder`; return that line."""
    before = snapshot(folder)
    capture.readouterr()
    code = main(argv)
    error = capture.readouterr().err
    assert code == 2
    # notes of what was found and the lines of long bars may come before the error
    lines = [line for line in without_bars(error) if not line.startswith("note: ")]
    assert len(lines) == 1, error
    assert lines[0].startswith("error: ")
    assert snapshot(folder) == before
    return lines[0]


@pytest.mark.parametrize("case", CASES)
def test_one_line_says_what_is_wrong(case: str, place: Path, capfd: Capture) -> None:
    changes, expected = CASES[case]
    line = refused(flags(changes), capfd, place)
    for part in expected:
        assert part in line


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("absent.yaml", ["absent.yaml", "cannot be read"]),
        ("unknown.yaml", ["unknown.yaml", "'layer_reduction'", "--help"]),
        ("list.yaml", ["list.yaml", "name: value"]),
        ("not.yaml", ["not.yaml", "not YAML", "line 2"]),
    ],
)
def test_a_bad_recipe_is_named(recipe: str, expected: list[str], place: Path, capfd: Capture) -> None:
    line = refused([recipe, *flags({})], capfd, place)
    for part in expected:
        assert part in line


def test_a_failure_in_the_middle_of_building_leaves_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    def fails(*_: object, **__: object) -> None:
        (written,) = place.glob("runs/new/.build-*")
        assert list(written.iterdir())  # without a file there would be nothing to clear away
        raise KeyboardInterrupt

    monkeypatch.setattr("bistil_ds.student.files.save_kept_ids", fails)
    before = snapshot(place)
    assert main(flags({})) == 130
    assert snapshot(place) == before


@pytest.mark.parametrize("launcher", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_ranks_print_the_line_once(material: Path, tmp_path: Path, launcher: bool) -> None:
    changes = {name: str(material / GOOD[name]) for name in ("--teacher_model", "--source_file", "--output_dir")}
    before = snapshot(material)
    words = flags({**changes, "--target_file": str(material / "latin1.txt")})
    done = general(*words, ranks=2, cache=tmp_path, timeout=300, launcher=launcher)
    assert done.returncode == 2
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1, done.stderr
    assert "latin1.txt, line 3 is not UTF-8" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert snapshot(material) == before


@pytest.mark.slow
def test_two_ranks_say_which_flag_is_unknown(material: Path, tmp_path: Path) -> None:
    done = general(*flags({"--layers": "2"}), ranks=2, cache=tmp_path, timeout=300, launcher=True)
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] == [
        "error: unrecognized arguments: --layers=2 (see --help)"
    ]
