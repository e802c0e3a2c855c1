"""Test `--dry_run`: it says what a real run then shows, keeps nothing, and refuses what the command refuses."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import tiny
from launch import PROGRAMS, command
from transformers import AutoModelForMaskedLM

from bistil_ds.commands import dry_run, general, pretrain, teacher
from bistil_ds.console import cli
from bistil_ds.distributed.startup import free_port
from bistil_ds.runs.size import tree_bytes
from bistil_ds.training import speed
from bistil_ds.training.estimate.arithmetic import Layout, training_memory
from bistil_ds.training.estimate.first_steps import FirstSteps
from bistil_ds.training.estimate.table import Rehearsal, size_text, table

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write texts, a teacher that is large beside the other files of a run, and files with entities."""
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder)
    tiny.write_teacher(folder / "teacher", width=128)
    tiny.write_entities(folder / "train.txt", 60, 1)
    tiny.write_entities(folder / "dev.txt", 12, 2)
    return folder


@pytest.fixture(autouse=True)
def place(material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test an empty current folder, and one for temporary files beside it."""
    monkeypatch.setattr(speed, "matmul_rate", lambda *of: 1e9)  # this and the next take long and are not tested here
    monkeypatch.setattr(gc, "collect", lambda: 0)
    monkeypatch.setenv("BISTIL_CACHE", str(material / "cache"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Rehearsal]:
    """Collect what dry runs found out before they print it."""
    rehearsals: list[Rehearsal] = []

    def collect(rehearsal: Rehearsal, **more: Any) -> Any:
        rehearsals.append(rehearsal)
        return table(rehearsal, **more)

    monkeypatch.setattr(dry_run, "table", collect)
    return rehearsals


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Note the bytes of weights, gradients and AdamW's moments that a dry run's trainer holds."""
    found: dict[str, int] = {}

    def on_pre_optimizer_step(self: FirstSteps, *args: Any, **kwargs: Any) -> None:
        parameters = list(self.trainer.model.parameters())
        found["weights"] = sum(p.nbytes for p in parameters)
        found["gradients"] = sum(p.grad.nbytes for p in parameters if p.grad is not None)

    def on_optimizer_step(self: FirstSteps, *args: Any, **kwargs: Any) -> None:
        optimizer: Any = self.trainer.optimizer
        states = [t for one in optimizer.optimizer.state.values() for t in one.values()]
        found["optimizer"] = sum(t.nbytes for t in states if t.numel() > 1)  # not the step counts

    monkeypatch.setattr(FirstSteps, "on_pre_optimizer_step", on_pre_optimizer_step)
    monkeypatch.setattr(FirstSteps, "on_optimizer_step", on_optimizer_step)
    return found


def phase_1_flags(material: Path, *more: object) -> list[str]:
    words = ["--teacher_model", material / "teacher", "--source_language", "aa", "--target_language", "bb"]
    words += ["--source_file", material / "aa.txt", "--target_file", material / "bb.txt", "--max_length", 32]
    words += ["--max_steps", 6, "--eval_strategy", "no", "--load_best_model_at_end", "false", "--save_steps", 2]
    words += ["--report_to", "none", *more]
    return list(map(str, words))


def teacher_flags(material: Path, *more: object) -> list[str]:
    words = ["--model", material / "teacher", "--task", "ner", "--train_file", f"aa={material / 'train.txt'}"]
    words += ["--dev_file", f"aa={material / 'dev.txt'}", "--sparse_max_steps", 2, "--full_epochs", 1]
    words += ["--report_to", "none", "--max_length", 64, *more]
    return list(map(str, words))


def assert_nothing_is_left(place: Path) -> None:
    assert list((place / "here").iterdir()) == list((place / "tmp").iterdir()) == []


def rows_of(printed: str) -> list[str]:
    """Return the lines of the table, with single spaces."""
    return [" ".join(line.split()) for line in printed[printed.index("dry run:") :].splitlines()]


def test_phase_1_takes_what_its_dry_run_says(
    material: Path, place: Path, found: list[Rehearsal], held: dict[str, int], capsys: Capture
) -> None:
    flags = phase_1_flags(material)
    assert general.main([*flags, "--dry_run", "--output_dir", "run"]) == 0
    assert_nothing_is_left(place)
    printed = rows_of(capsys.readouterr().out)
    assert general.main([*flags, "--output_dir", "run"]) == 0
    record = json.loads(Path("run/run.json").read_text())
    build = record["results"]["build"]
    for name in ("teacher_parameters", "trimmed_teacher_parameters", "student_parameters"):
        assert any(line.endswith(f" {build[name]:,} parameters counted") for line in printed)
    sizes = build["vocabulary"]
    kept = f"{sizes['after']['vocabulary']:,} of {sizes['before']['vocabulary']:,} tokens"
    assert f"vocabulary kept {kept} counted" in printed
    assert "aa: aa.txt, 16.3 kB 400 texts counted" in printed
    for language in ("aa", "bb"):
        assert f"chunks of 32 tokens {build['chunks'][language]['train']:,} counted" in printed
    (training,) = found[0].trainings
    memory = training_memory(training.first.parameters, training.first.trainable, training.first.layout)
    assert held == {"weights": memory.weights, "gradients": memory.gradients, "optimizer": memory.optimizer}
    assert training.first.parameters == build["student_parameters"]
    assert training.first.steps == record["results"]["steps"] == 6
    assert len(training.first.seconds) == 3
    assert found[0].final_bytes == pytest.approx(tree_bytes(Path("run")), rel=0.03)


def test_the_stages_take_what_the_dry_run_says(
    material: Path, place: Path, found: list[Rehearsal], capsys: Capture
) -> None:
    flags = teacher_flags(material)
    assert teacher.main([*flags, "--dry_run", "--output_dir", "run"]) == 0
    assert_nothing_is_left(place)
    printed = rows_of(capsys.readouterr().out)
    assert teacher.main([*flags, "--output_dir", "run"]) == 0
    results = json.loads(Path("run/run.json").read_text())["results"]
    assert any(line.endswith(f" {results['build']['parameters']:,} parameters counted") for line in printed)
    assert "train, aa: train.txt, 3.54 kB 60 examples counted" in printed
    assert "dev, aa: dev.txt, 717 B 12 examples counted" in printed
    assert [one.first.steps for one in found[0].trainings] == [one["steps"] for one in results["stages"]] == [8, 2]
    full, sparse = (one.first for one in found[0].trainings)
    assert len(full.seconds) == 3
    assert len(sparse.seconds) == 1  # of two steps, the first warms up
    density = json.loads(Path("run/sft.json").read_text())["metadata"]["density"]
    assert sparse.trainable < 0.1 * full.trainable
    assert sparse.trainable == pytest.approx(density * full.trainable, rel=0.02)  # the head and layer norms beside it
    assert found[0].final_bytes == pytest.approx(tree_bytes(Path("run")), rel=0.03)


def test_pretraining_takes_what_its_dry_run_says(
    material: Path, place: Path, found: list[Rehearsal], capsys: Capture
) -> None:
    texts = material / "texts"
    texts.mkdir()
    tiny.write_texts(texts, lines=200)
    sizes = ["--vocab_size", "200", "--layers", "2", "--hidden_size", "32", "--length", "16", "--steps", "6"]
    flags = ["--input_folder", str(texts), *sizes, "--batch_size", "2"]
    assert pretrain.main([*flags, "--dry_run", "--output_dir", "run"]) == 0
    assert_nothing_is_left(place)
    assert "aa: aa.txt, 8.39 kB 200 lines counted" in rows_of(capsys.readouterr().out)
    assert pretrain.main([*flags, "--output_dir", "run"]) == 0
    first = found[0].trainings[0].first
    model = AutoModelForMaskedLM.from_pretrained("run")
    assert (first.parameters, first.steps, len(first.seconds)) == (model.num_parameters(), 6, 3)
    assert found[0].final_bytes == pytest.approx(tree_bytes(Path("run")), abs=10_000)  # run.json beside it
    assert "dry_run" not in json.loads(Path("run/run.json").read_text())["arguments"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--source_file", "no.txt"], "--source_file: there is no file no.txt"),
        (["--max_length", "100"], "takes at most 64 tokens"),
        (["--output_dir", "full"], "--output_dir full: is not empty; choose another folder"),
        (["--output_dir", "full/file/run"], "cannot be made in"),
        (["--output_dir", "begun", "--resume_from_checkpoint", "true"], "a run was begun in begun"),
    ],
)
def test_what_the_command_refuses_is_refused(
    material: Path, place: Path, more: list[str], message: str, capsys: Capture
) -> None:
    for name in ("full", "begun"):
        Path(name).mkdir()
    Path("full/file").write_text("")
    Path("begun/run.json").write_text("{}")
    assert general.main(phase_1_flags(material, "--dry_run", *more)) == 2
    assert message in capsys.readouterr().err
    assert list((place / "tmp").iterdir()) == []
    assert len(list((place / "here").rglob("*"))) == 4


def test_a_run_that_could_not_make_its_default_folder_is_refused(material: Path, place: Path, capsys: Capture) -> None:
    Path("runs").write_text("a file\n")
    for more in (["--dry_run"], []):
        assert general.main(phase_1_flags(material, *more)) == 2
        assert "cannot be made in" in capsys.readouterr().err
    assert not list((place / "tmp").iterdir())


def test_sigterm_removes_the_temporary_folder(material: Path, place: Path) -> None:
    def rehearse(run: Any) -> None:
        assert [path.name for path in (place / "tmp").glob("*/run/run.json")]
        os.kill(os.getpid(), signal.SIGTERM)

    flags = vars(cli.parse(phase_1_flags(material), general.COMMAND.flags, ""))
    with pytest.raises(SystemExit, match="143"):
        dry_run.dry_run(general.prepare, rehearse, flags)
    assert_nothing_is_left(place)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_two_ranks_hold_what_the_stage_divides(material: Path, place: Path, stage: int) -> None:
    flags = phase_1_flags(material, "--dry_run", "--deepspeed", f"zero{stage}", "--output_dir", "run")
    (_, _, *words), environment = command(*flags, cache=material / "cache")
    launcher = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_gpus", "2"]
    started = [*launcher, "--master_port", str(free_port()), str(PROGRAMS / "held_in_dry_run.py"), *words]
    done = subprocess.run(started, capture_output=True, text=True, timeout=500, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    printed = rows_of(done.stdout)
    assert f"laid out for ZeRO-{stage}, 2 ranks counted" in printed
    counts = dict(line.removesuffix(" counted").rsplit(" ", 1) for line in printed if line.endswith("counted"))
    total, trainable = (int(counts[name].replace(",", "")) for name in ("parameters", "those that train"))
    memory = training_memory(total, trainable, Layout(2, 4, stage))
    for name in ("weights", "gradients", "optimizer"):
        said = f" {size_text(getattr(memory, name))} computed"
        assert any(line.startswith(name) and line.endswith(said) for line in printed)
    held = json.loads(done.stdout.split("held ")[1].splitlines()[0])
    assert held == pytest.approx({"weights": memory.weights, "optimizer": memory.optimizer}, rel=0.02)
    assert not list((place / "here").iterdir())
