"""Test that SIGTERM and SIGUSR1 save a checkpoint and exit with 75, and that one command line starts and goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tiny
from launch import command, general, history, ranks_of, started, wait_for
from safetensors.torch import load_file
from tiny import write_entities, write_teacher

from bistil_ds.commands import general as general_command
from bistil_ds.commands import task, teacher
from bistil_ds.distillation import building
from bistil_ds.distillation.trainer import DistillationTrainer
from bistil_ds.distributed.startup import free_port
from bistil_ds.training.preemption import save_first
from bistil_ds.tuning.trainer import TaskTrainer

GOES_ON = ("--resume_from_checkpoint", "true")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two texts, a teacher `mmt` and a `student` of two layers, and tagged sentences."""
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 150)
    write_teacher(folder / "mmt")
    write_teacher(folder / "student", layers=2, seed=3)
    write_entities(folder / "train.txt", 40, 1)
    write_entities(folder / "dev.txt", 8, 2)
    return folder


@pytest.fixture(autouse=True)
def cache(material: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the tokenised texts with the material, and check that the handlers of signals are put back."""
    monkeypatch.setenv("BISTIL_CACHE", str(material / "cache"))
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before


def phase_1(material: Path, out: Path, ranks: int = 1, steps: int = 6) -> list[str]:
    flags: list[Any] = ["--teacher_model", material / "mmt", "--source_language", "aa", "--target_language", "bb"]
    flags += ["--source_file", material / "aa.txt", "--target_file", material / "bb.txt", "--max_length", 32]
    flags += ["--per_device_train_batch_size", 4 // ranks, "--max_steps", steps, "--logging_steps", 1]
    flags += ["--eval_steps", 4, "--save_steps", 4, "--mlm_weight", 0.1, "--report_to", "none", "--output_dir", out]
    return [*map(str, flags), *GOES_ON]


def tuning(material: Path, out: Path) -> list[str]:
    flags: list[Any] = ["--task", "ner", "--train_file", f"aa={material / 'train.txt'}", "--max_length", 64]
    flags += ["--dev_file", f"aa={material / 'dev.txt'}", "--per_device_train_batch_size", 4, "--learning_rate", 1e-3]
    flags += ["--full_max_steps", 4, "--sparse_max_steps", 4, "--eval_strategy", "steps", "--eval_steps", 2]
    flags += ["--save_strategy", "steps", "--save_steps", 2, "--report_to", "none", "--output_dir", out]
    return [*map(str, flags), *GOES_ON]


def send(number: int, when: Callable[[Any], bool], monkeypatch: pytest.MonkeyPatch, kind: type = TaskTrainer) -> None:
    """Let the process get a signal, once, in the middle of the first step for whose trainer `when` holds."""
    compute, sent = kind.compute_loss, []  # type: ignore[attr-defined]

    def compute_loss(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        if when(trainer) and not sent:
            sent.append(os.kill(os.getpid(), number))
        return compute(trainer, *args, **kwargs)

    monkeypatch.setattr(kind, "compute_loss", compute_loss)


def same(one: Path, other: Path) -> bool:
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(ours[name].equal(theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def whole(material: Path) -> Path:
    """Run phase 1 without a break."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("BISTIL_CACHE", str(material / "cache"))
        assert general_command.main(phase_1(material, material / "whole")) == 0
    return material / "whole"


def test_a_signal_saves_a_checkpoint_from_which_the_same_command_goes_on_to_the_same_bits(
    material: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = phase_1(material, tmp_path)
    with monkeypatch.context() as patched:
        send(signal.SIGUSR1, lambda trainer: trainer.state.global_step == 2, patched, DistillationTrainer)
        assert general_command.main(words) == 75
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith(f"stopped by SIGUSR1 at step 3 of 6: saved {tmp_path / 'checkpoint-3'}; ")
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-3"]
    assert not (tmp_path / "model.safetensors").exists()
    assert general_command.main(words) == 0
    assert same(tmp_path / "model.safetensors", whole / "model.safetensors")
    assert history(tmp_path, "loss") == history(whole, "loss")


@pytest.mark.slow
def test_a_signal_in_the_last_step_lets_the_run_end(
    material: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(signal.SIGUSR1, lambda trainer: trainer.state.global_step == 5, monkeypatch, DistillationTrainer)
    assert general_command.main(phase_1(material, tmp_path)) == 0
    assert same(tmp_path / "model.safetensors", whole / "model.safetensors")


def test_a_signal_before_training_leaves_nothing_behind(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    load = building.load_teacher

    def load_model(*args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return load(*args)

    monkeypatch.setattr(building, "load_teacher", load_model)
    assert general_command.main(phase_1(material, tmp_path / "run")) == 75
    assert "stopped by SIGTERM before training began" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def tuned(material: Path) -> Path:
    """Tune a teacher without a break."""
    assert teacher.main(["--model", str(material / "mmt"), *tuning(material, material / "tuned")]) == 0
    return material / "tuned"


@pytest.mark.parametrize("stage", [pytest.param("full", marks=pytest.mark.slow), "sparse"])
def test_both_stages_of_teacher_tuning_can_be_stopped(
    stage: str, material: Path, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--model", str(material / "mmt"), *tuning(material, tmp_path / "cut")]
    with monkeypatch.context() as patched:

        def is_there(trainer: TaskTrainer) -> bool:
            return trainer.state.global_step == 2 and (trainer.deltas is not None) == (stage == "sparse")

        send(signal.SIGTERM, is_there, patched)
        assert teacher.main(words) == 75
    assert [path.parent.name[8:] for path in (tmp_path / "cut").glob("*/checkpoint-3")] == [stage]
    assert teacher.main(words) == 0
    assert same(tmp_path / "cut" / "sft.safetensors", tuned / "sft.safetensors")


@pytest.mark.slow
def test_a_signal_between_stages_stops_after_the_first_step_of_the_next(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(signal.SIGTERM, lambda trainer: trainer.state.global_step == 3, monkeypatch)
    assert teacher.main(["--model", str(material / "mmt"), *tuning(material, tmp_path)]) == 75
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/checkpoint-*")] == [
        "stage-2-sparse/checkpoint-1"
    ]


@pytest.mark.slow
def test_resuming_in_an_empty_folder_starts_phase_2(material: Path, tuned: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()  # phase 1 and teacher tuning start above, where there is no folder
    words = ["--student", str(material / "student"), "--teacher_model", str(material / "mmt")]
    words += ["--teacher_sft", str(tuned), *tuning(material, tmp_path / "run")]
    assert task.main(words) == 0
    assert (tmp_path / "run" / "sft.safetensors").is_file()


# Several ranks, as launchers and schedulers start them


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("stage", ["zero2", "zero3"])
def test_a_signal_to_one_of_two_ranks_stops_both_and_the_run_goes_on_to_the_same_bits(
    stage: str, material: Path, tmp_path: Path
) -> None:
    whole, cut = ([*phase_1(material, tmp_path / name, 2, 40), "--deepspeed", stage] for name in ("whole", "cut"))
    done = general(*whole, ranks=2, cache=material / "cache", launcher=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    words, environment = command(*cut, ranks=2, cache=material / "cache", launcher=True)
    launcher = started(words, environment, tmp_path / "log")
    wait_for(tmp_path / "cut" / "checkpoint-4" / "complete.json", launcher)
    ranks = ranks_of(launcher)
    assert len(ranks) == 2
    max(ranks, key=lambda rank: rank.pid).send_signal(signal.SIGUSR1)  # rank 1, which was started last
    assert launcher.wait(120) == 75, (tmp_path / "log").read_text()[-3000:]
    assert "stopped by a signal to another rank at step" in (tmp_path / "log").read_text()
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    done = general(*cut, ranks=2, cache=material / "cache", launcher=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    assert same(tmp_path / "cut" / "model.safetensors", tmp_path / "whole" / "model.safetensors")


@pytest.mark.slow
def test_deepspeeds_launcher_passes_sigterm_on(material: Path, tmp_path: Path) -> None:
    words, environment = command(
        *phase_1(material, tmp_path / "run", 2, 400),
        "--deepspeed",
        "zero2",
        ranks=2,
        cache=material / "cache",
        launcher=True,
    )
    launcher = started(words, environment, tmp_path / "log")
    wait_for(tmp_path / "run" / "checkpoint-4" / "complete.json", launcher)
    inner, everybody = psutil.Process(launcher.pid).children(), psutil.Process(launcher.pid).children(recursive=True)
    inner[0].send_signal(signal.SIGTERM)  # the outer process passes nothing on
    assert launcher.wait(120) == 1
    _, alive = psutil.wait_procs(everybody, 60)
    assert not alive
    log = (tmp_path / "log").read_text()
    assert "stopped by SIGTERM at step" in log, log[-3000:]
    assert all((path / "complete.json").is_file() for path in (tmp_path / "run").glob("checkpoint-*"))


@pytest.mark.slow
def test_ranks_without_a_launcher_exit_with_75(material: Path, tmp_path: Path) -> None:
    # as in docs/distributed.md: Slurm starts each rank and sends the signal to all of them
    flags = [*phase_1(material, tmp_path / "run", 2, 400), "--deepspeed", "zero2"]
    words, environment = command(*flags, cache=material / "cache")
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [
        started(words, {**environment, **together, "RANK": rank, "LOCAL_RANK": rank}, tmp_path / f"log-{rank}")
        for rank in ("0", "1")
    ]
    wait_for(tmp_path / "run" / "checkpoint-4" / "complete.json", ranks[0])
    for rank in ranks:
        rank.send_signal(signal.SIGUSR1)
    codes = [rank.wait(120) for rank in ranks]
    assert codes == [75, 75], (tmp_path / "log-0").read_text()[-3000:]
    assert "stopped by SIGUSR1 at step" in (tmp_path / "log-0").read_text()
    assert "Traceback" not in (tmp_path / "log-1").read_text()


def test_a_forked_worker_is_ended_by_sigterm_as_ever() -> None:
    ready, tell = os.pipe()
    with save_first():
        worker = os.fork()
        if not worker:
            os.write(tell, b"ready")  # a signal in the moment of the fork is lost in any Python process with a handler
            time.sleep(20)
            os._exit(0)
        os.read(ready, 5)
        os.kill(worker, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == -signal.SIGTERM
