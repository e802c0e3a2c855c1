"""Test that a killed run resumes to the same bits, from whole checkpoints only, also on another number of ranks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from launch import command, general, history, several_runs
from safetensors.torch import load_file

from bistil_ds.commands.general import main
from bistil_ds.runs.seals import SEAL, read_seal, write_seal

STEPS = 12


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 500)
    tiny.write_teacher(folder / "teacher")
    return folder


def flags(material: Path, out: Path, config: str, ranks: int = 1, mlm: float = 0.1) -> list[object]:
    words: list[object] = ["--teacher_model", material / "teacher", "--source_language", "aa", "--target_language"]
    words += ["bb", "--source_file", material / "aa.txt", "--target_file", material / "bb.txt"]
    return words + training_flags(out, config, ranks, mlm)


def training_flags(out: Path, config: str, ranks: int = 1, mlm: float = 0.1) -> list[object]:
    words: list[object] = ["--max_length", 32, "--per_device_train_batch_size", 4 // ranks, "--max_steps", STEPS]
    words += ["--gradient_accumulation_steps", 2, "--save_total_limit", 9]
    words += ["--logging_steps", 1, "--eval_steps", 4, "--save_steps", 4]
    words += ["--mlm_weight", mlm, "--output_dir", out, "--deepspeed", config]
    return words


def killed_after_step(step: int, cache: Path, out: Path, run: list[object], ranks: int = 1) -> None:
    words, environment = command(*run, ranks=ranks, cache=cache)
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    until = time.monotonic() + 240
    while not (out / f"checkpoint-{step}" / "complete.json").is_file():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "model.safetensors").exists()


RESUME = ["--resume_from_checkpoint", "true"]


@pytest.fixture(scope="module")
def resumed(material: Path) -> str:
    """Kill a run on one rank and one on two, and resume both on one rank; return what this wrote to stderr.

    The process that resumes them then runs phase 1 to its end, with either weight of the masked-token loss (`whole`).
    """
    cache, one, two = material / "cache", material / "killed-8", material / "two"
    killed_after_step(8, cache, one, flags(material, one, "zero2"))
    (one / "checkpoint-12").mkdir(exist_ok=True)  # a run that is killed while it writes leaves such a folder
    (one / "checkpoint-12" / "model.safetensors").write_bytes(b"half")
    killed_after_step(8, cache, two, flags(material, two, "zero2", ranks=2, mlm=0), ranks=2)
    whole = [flags(material, material / f"whole-{mlm}", "zero2", mlm=mlm) for mlm in (0.1, 0)]
    again = [flags(material, one, "zero2"), flags(material, two, "zero2", mlm=0)]
    return several_runs([*([*words, *RESUME] for words in again), *whole], cache=cache)


@pytest.fixture(scope="module")
def whole(material: Path, resumed: str) -> dict[float, Path]:
    """Return the folders of the runs that nothing stopped, by the weight of their masked-token loss."""
    return {mlm: material / f"whole-{mlm}" for mlm in (0.1, 0)}


def assert_same_bits(out: Path, other: Path) -> None:
    assert history(out, "loss") == history(other, "loss")
    ours, theirs = load_file(out / "model.safetensors"), load_file(other / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)


def test_a_killed_run_resumes_to_the_same_bits(material: Path, whole: dict[float, Path], resumed: str) -> None:
    assert "checkpoint-12 is left out" in resumed
    assert_same_bits(material / "killed-8", whole[0.1])


@pytest.mark.slow
def test_a_run_killed_between_its_last_checkpoint_and_its_student_resumes_to_the_same_bits(
    material: Path, whole: dict[float, Path]
) -> None:
    out = material / "killed-last"
    killed_after_step(STEPS, material / "cache", out, flags(material, out, "zero2"))
    done = general(*flags(material, out, "zero2"), *RESUME, cache=material / "cache")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "is left out" not in done.stderr
    assert_same_bits(out, whole[0.1])


@pytest.mark.slow
def test_three_languages_on_two_ranks_resume_to_the_same_bits(material: Path, tmp_path: Path) -> None:
    """The texts differ in size, so that the temperature gives the languages unequal shares of the steps."""
    (tmp_path / "cc.txt").write_text("\n".join(tiny.text_lines("bb", 150, seed=7)), encoding="utf-8")
    texts = [f"aa={material / 'aa.txt'}", f"bb={material / 'bb.txt'}", f"cc={tmp_path / 'cc.txt'}"]
    out, whole = tmp_path / "killed", tmp_path / "whole"

    def words(folder: Path) -> list[object]:
        own: list[object] = ["--teacher_model", material / "teacher", "--text", *texts, "--language_temperature", 2]
        return [*own, *training_flags(folder, "zero2", ranks=2)]

    killed_after_step(8, material / "cache", out, words(out), ranks=2)
    several_runs([[*words(out), *RESUME], words(whole)], 2, cache=material / "cache")
    assert_same_bits(out, whole)
    steps = Counter(language for language in ("aa", "bb", "cc") for _ in history(whole, f"{language}/loss"))
    assert steps["aa"] > steps["cc"] > 0


def test_two_ranks_resume_as_one(material: Path, whole: dict[float, Path]) -> None:
    assert history(material / "two", "loss") == pytest.approx(history(whole[0], "loss"), rel=1e-5)


Refused = Callable[[list[object]], str]


@pytest.fixture
def refused(material: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Return a function that runs the command in this process and checks that it ends before training.

    It returns what the command wrote to stderr.
    """

    def run(words: list[object]) -> str:
        monkeypatch.setenv("BISTIL_CACHE", str(material / "cache"))
        assert main([str(word) for word in words]) == 2
        error = capfd.readouterr().err
        assert "Traceback" not in error
        return error

    return run


def test_a_tampered_checkpoint_is_not_opened(
    material: Path, whole: dict[float, Path], tmp_path: Path, refused: Refused
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole[0.1], out)
    scheduler = next((out / "checkpoint-8").rglob("*optim_states.pt"))
    scheduler.write_bytes(scheduler.read_bytes()[:-1] + b"x")
    words = [*flags(material, out, "zero2"), "--resume_from_checkpoint", out / "checkpoint-8"]
    assert "optim_states.pt: not the bytes that were written" in refused(words)


def test_resuming_with_another_setting_is_refused(material: Path, whole: dict[float, Path], refused: Refused) -> None:
    words = [*flags(material, whole[0.1], "zero2"), *RESUME, "--mlm_weight", "0.5"]
    assert "--mlm_weight 0.5: the run in" in refused(words)


class Code:
    """Object whose pickle makes a folder when it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def seal_as_a_stranger(run: Path, ranks: int = 1) -> None:
    for folder in (run / "build", *run.glob("checkpoint-*")):
        write_seal(folder, b"the key of a stranger", world_size=ranks)


@pytest.mark.parametrize("trust", [[], ["--trust_checkpoint"]])
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("shard", ["optim_states.pt", "model_states.pt"])
def test_code_in_a_strangers_shards_never_runs(
    material: Path,
    whole: dict[float, Path],
    tmp_path: Path,
    refused: Refused,
    trust: list[str],
    ranks: int,
    shard: str,
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole[0.1], out)
    path = next((out / "checkpoint-12").rglob(f"*{shard}"))
    torch.save({**torch.load(path, weights_only=False), "more": Code(tmp_path / "ran")}, path)
    seal_as_a_stranger(out, ranks)  # written by two ranks, it is first converted for one
    words = [*flags(material, out, "zero2"), *RESUME, *trust]
    error = refused(words)
    assert ("wants to run posix.mkdir" if trust else "not signed with your key") in error
    assert not (tmp_path / "ran").exists()


def test_files_outside_a_checkpoint_are_never_opened(
    material: Path, whole: dict[float, Path], tmp_path: Path, refused: Refused
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole[0.1], out)
    outside = shutil.copytree(next((out / "checkpoint-12").glob("global_step*")), tmp_path / "outside")
    for path in outside.iterdir():
        torch.save(Code(tmp_path / "ran"), path)
    (out / "checkpoint-12" / "latest").write_text("../../outside")
    seal_as_a_stranger(out)
    words = [*flags(material, out, "zero2"), "--resume_from_checkpoint", out / "checkpoint-12", "--trust_checkpoint"]
    assert "latest: names '../../outside'" in refused(words)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_checkpoint_of_version_0_1_resumes_where_it_is_trusted(
    material: Path, whole: dict[float, Path], tmp_path: Path, ranks: int
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(whole[0], out)
    shutil.rmtree(out / "checkpoint-12")
    (out / "build" / SEAL).unlink()
    for folder in out.glob("checkpoint-*"):
        hashes = {name: one["sha256"] for name, one in read_seal(folder)["files"].items()}
        (folder / SEAL).write_text(json.dumps({"world_size": 1, "files": hashes}))
    words = [*flags(material, out, "zero2", ranks=ranks, mlm=0), *RESUME]
    done = general(*words, ranks=ranks, cache=material / "cache")
    assert done.returncode == 2, done.stderr[-3000:]
    assert "not signed with your key" in done.stderr or "no such file" in done.stderr
    done = general(*words, "--trust_checkpoint", ranks=ranks, cache=material / "cache")
    assert done.returncode == 0, done.stderr[-3000:]
    assert history(out, "loss") == pytest.approx(history(whole[0], "loss"), rel=1e-5)
