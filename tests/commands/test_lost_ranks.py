"""Test what a run does when its launcher or one of its ranks is lost, and that no second run may join it meanwhile."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tiny
from launch import REPOSITORY, command, ranks_of, started, wait_for

from bistil_ds.commands import evaluate, export, general, pretrain, task, teacher, trim
from bistil_ds.runs import checkpoints
from bistil_ds.runs.holding import LOCK, hold, let_go

LIMIT = 20
COMMANDS: dict[str, Callable[[list[str]], int]] = {
    one.__name__.rpartition(".")[2]: one.main for one in (evaluate, export, general, pretrain, task, teacher, trim)
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_a_folder_in_use_before_it_reads_anything(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ready, tell = os.pipe()
    holder = os.fork()
    if not holder:
        hold(tmp_path)
        os.write(tell, b"!")
        signal.pause()
    os.read(ready, 1)
    try:
        assert COMMANDS[name](["--output_dir", str(tmp_path)]) == 2
    finally:
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --output_dir {tmp_path}: in use by another run (pid {holder} on ")
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def flags(material: Path, out: Path) -> list[str]:
    words: list[Any] = ["--teacher_model", material / "mmt", "--source_language", "aa", "--target_language", "bb"]
    words += ["--source_file", material / "aa.txt", "--target_file", material / "bb.txt", "--max_length", 32]
    words += ["--per_device_train_batch_size", 2, "--max_steps", 100_000, "--eval_steps", 8, "--save_steps", 8]
    words += ["--save_total_limit", 2, "--report_to", "none", "--output_dir", out, "--rank_timeout", LIMIT]
    return [*map(str, words), "--resume_from_checkpoint", "true"]


TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.fixture
def launch(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Return a function that starts phase 1 on two ranks, by torchrun or by DeepSpeed's launcher at ZeRO-2."""
    tiny.write_texts(tmp_path, 150)
    tiny.write_teacher(tmp_path / "mmt")

    def start() -> subprocess.Popen[bytes]:
        words = flags(tmp_path, tmp_path / "run")
        script = REPOSITORY / "launch_scripts" / "general.py"
        if request.param == "torchrun":
            started_by = command(*words, cache=tmp_path / "cache", program=[*TORCHRUN, script])
        else:
            started_by = command(*words, "--deepspeed", "zero2", ranks=2, cache=tmp_path / "cache", launcher=True)
        return started(*started_by, tmp_path / "log")

    yield start
    for process in psutil.process_iter(["cmdline"]):  # what a test that fails would leave running
        if any(str(tmp_path) in word for word in process.info["cmdline"] or ()):
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("launch", ["torchrun", "deepspeed"], indirect=True)
def test_what_starts_the_ranks_is_lost_then_one_rank_stops_and_the_same_command_goes_on(
    launch: Callable[[], subprocess.Popen[bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    launcher = launch()
    wait_for(run / "checkpoint-8" / "complete.json", launcher)
    ranks = ranks_of(launcher)
    assert len(ranks) == 2
    for rank in ranks:
        rank.send_signal(signal.SIGSTOP)
    launcher.kill()
    launcher.wait()
    assert general.main(flags(tmp_path, run)) == 2
    assert "in use by another run (pid " in capsys.readouterr().err
    for rank in ranks:
        rank.send_signal(signal.SIGCONT)
    assert psutil.wait_procs(ranks, 60)[1] == []
    stopped = re.search(r"stopped by (SIGTERM|a signal to another rank) at step", log.read_text())  # whoever is first
    assert stopped, log.read_text()[-3000:]
    assert not (run / LOCK).exists()

    newest = checkpoints.all_checkpoints(run)[-1]
    launcher = launch()
    wait_for(run / f"checkpoint-{checkpoints.steps_of(newest) // 8 * 8 + 8}" / "complete.json", launcher)
    rank_1 = max(ranks_of(launcher), key=lambda rank: rank.pid)  # it was started last
    began = time.monotonic()
    rank_1.send_signal(signal.SIGSTOP)
    assert launcher.wait(120) != 0
    assert time.monotonic() - began < LIMIT + 15
    line = f"error: rank 1 on {socket.gethostname()} (pid {rank_1.pid}) has given no sign of life for"
    assert line in log.read_text(), log.read_text()[-3000:]
    assert not rank_1.is_running()
    hold(run)
    let_go(run)
    assert any(checkpoints.broken(one) is None for one in checkpoints.all_checkpoints(run)[-2:])
