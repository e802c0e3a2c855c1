"""Test runs on two hosts: the link is cut, then the run goes on with other ranks and at another ZeRO stage."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny
from launch import PROGRAMS, python_path, wait_for
from stand_ins.two_hosts import Host, start_sshd, two_hosts, why_no_hostfile, why_not

from bistil_ds.commands import general, task, teacher

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]
LIMIT = 20  # seconds
STEPS, BATCH = 20, 6
STAGES = {"general": ("run",), "task": ("stage-1-full", "stage-2-sparse")}
PORT = 29511


def training(zero: str | None, ranks: int) -> list[object]:
    words: list[object] = ["--per_device_train_batch_size", BATCH // ranks, "--logging_steps", 1, "--save_steps", 2]
    words += ["--eval_steps", 2, "--save_total_limit", 9, "--report_to", "none", "--rank_timeout", LIMIT]
    words += ["--weight_decay", 0.1, "--resume_from_checkpoint", "true"]
    return [*words, "--deepspeed", zero] if zero else words


def flags(command: str, material: Path, out: Path, zero: str | None, ranks: int) -> list[str]:
    """Return the flags of phase 1 or 2, the same run on any number of ranks: batches of 6, no dropout, no masks."""
    words: list[object] = [*training(zero, ranks), "--output_dir", out, "--teacher_model", material / "mmt"]
    if command == "general":
        words += ["--source_language", "aa", "--target_language", "bb", "--source_file", material / "aa.txt"]
        words += ["--target_file", material / "bb.txt", "--max_length", 32, "--mlm_weight", 0, "--max_steps", STEPS]
    else:
        words += ["--student", material / "student", "--teacher_sft", material / "teacher", "--task", "ner"]
        words += ["--train_file", f"aa={material / 'train.txt'}", "--dev_file", f"aa={material / 'dev.txt'}"]
        words += ["--max_length", 64, "--full_max_steps", STEPS // 2, "--sparse_max_steps", STEPS // 2]
        words += ["--eval_strategy", "steps", "--save_strategy", "steps", "--learning_rate", 1e-3]
    return [str(word) for word in words]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write teacher, student, texts and tagged sentences; `general` and `task` there are runs that nothing stopped."""
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 150)
    tiny.write_teacher(folder / "mmt")
    tiny.write_teacher(folder / "student", layers=2, seed=3)
    data = write_equal_sentences(folder / "train.txt", 80), tiny.write_entities(folder / "dev.txt", 12, 2)
    words: list[object] = ["--model", folder / "mmt", "--task", "ner", "--train_file", f"aa={data[0]}", "--dev_file"]
    words += [f"aa={data[1]}", "--full_max_steps", 2, "--sparse_max_steps", 2, "--output_dir", folder / "teacher"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("BISTIL_CACHE", str(folder / "cache"))
        assert teacher.main([*map(str, words), "--report_to", "none"]) == 0
        for command, main in {"general": general.main, "task": task.main}.items():
            assert main([*flags(command, folder, folder / command, None, 1)]) == 0
    return folder


def write_equal_sentences(path: Path, sentences: int) -> Path:
    """Write sentences of the same tagged words in other orders: with as many tokens each, ranks count as much each."""
    first = tiny.write_entities(path, 1, 1).read_text().strip().splitlines()
    draw = random.Random(0)
    path.write_text("".join("\n".join(draw.sample(first, len(first))) + "\n\n" for _ in range(sentences)))
    return path


@dataclass
class Cluster:
    """Two hosts, and what starts a run's ranks on them."""

    a: Host
    b: Host
    launcher: str
    folder: Path
    environment: dict[str, str]

    def start(self, on: dict[str, int], program: list[str]) -> list[subprocess.Popen[bytes]]:
        """Start a program on so many ranks of each host; return the launchers, of which DeepSpeed needs one."""
        hosts = [host for host in (self.a, self.b) if host.name in on]
        if self.launcher == "torchrun":
            where = ["--nnodes", str(len(hosts)), "--master-addr", hosts[0].name, "--master-port", str(PORT)]
            found = []
            for number, host in enumerate(hosts):
                words = [sys.executable, "-m", "torch.distributed.run", *where, "--node-rank", str(number)]
                words += ["--nproc-per-node", str(on[host.name]), *program]
                found.append(host.start(words, self.log(number), self.environment))
            return found
        (self.folder / "hostfile").write_text("".join(f"{name} slots={ranks}\n" for name, ranks in on.items()))
        words = [sys.executable, "-m", "deepspeed.launcher.runner", "--hostfile", str(self.folder / "hostfile")]
        words += ["--master_addr", "node-a", "--master_port", str(PORT), "--force_multi", *program]
        return [self.a.start(words, self.log(0), self.environment)]

    def log(self, number: int) -> Path:
        return self.folder / f"log-{number}"

    def said(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("log-*")))


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path, material: Path) -> Iterator[Cluster]:
    if request.param == "deepspeed" and (reason := why_no_hostfile()):
        pytest.skip(reason)
    own = {"BISTIL_CACHE": str(material / "cache"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    own |= {"PYTHONPATH": python_path(), "XDG_CONFIG_HOME": os.environ["XDG_CONFIG_HOME"]}
    (tmp_path / "env").write_text("".join(f"{name}={value}\n" for name, value in own.items()))
    patience = "-o ServerAliveInterval=5 -o ServerAliveCountMax=2"
    own |= {"DS_ENV_FILE": str(tmp_path / "env"), "DS_ACCELERATOR": "cpu", "PDSH_SSH_ARGS_APPEND": patience}
    own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with two_hosts(tmp_path) as (a, b):
        if request.param == "deepspeed":
            start_sshd((a, b), tmp_path)
        yield Cluster(a, b, request.param, tmp_path, {**os.environ, **own})


def ranks_on(host: Host) -> list[str]:
    """Return the command lines of the ranks that live on a host, without launchers and zombies."""
    lines = host.run("ps", "ax", "-o", "args").splitlines()
    return [line for line in lines if "at_step.py" in line and "launcher" not in line and "torch.dist" not in line]


def losses(run: Path, command: str) -> list[float]:
    """Return the loss of every step, over all stages."""
    found: list[float] = []
    for place in STAGES[command]:
        folder = run if place == "run" else run / place
        newest = max(folder.glob("**/trainer_state.json"), key=lambda path: json.loads(path.read_text())["global_step"])
        history: list[dict[str, Any]] = json.loads(newest.read_text())["log_history"]
        found += [row["loss"] for row in history if "loss" in row]
    return found


@pytest.mark.parametrize(
    ("cluster", "command", "zero"),
    [("torchrun", "general", 2), ("deepspeed", "general", 3), ("torchrun", "task", 3), ("deepspeed", "task", 2)],
    indirect=["cluster"],
)
def test_the_link_is_cut_then_one_host_three_ranks_and_another_stage_go_on(
    cluster: Cluster, command: str, zero: int, material: Path, tmp_path: Path
) -> None:
    run, meeting = tmp_path / "run", tmp_path / "meeting"
    meeting.mkdir()
    first, last = STAGES[command][0], STAGES[command][-1]

    def program(place: str, step: int, action: object, stage: int, ranks: int) -> list[str]:
        words = [PROGRAMS / "at_step.py", command, place, step, action]
        return [*map(str, words), *flags(command, material, run, f"zero{stage}", ranks)]

    launchers = cluster.start({"node-a": 1, "node-b": 1}, program(first, 5, meeting, zero, 2))
    wait_for(meeting / "reached", launchers[0])
    cluster.b.cut()
    cut = time.monotonic()
    (meeting / "go").touch()
    for host in (cluster.a, cluster.b):
        while ranks_on(host):
            assert time.monotonic() - cut < LIMIT + 15, cluster.said()[-3000:]
            time.sleep(0.2)
    for launcher in launchers:
        assert launcher.wait(max(0.0, cut + LIMIT + 60 - time.monotonic())) != 0
    assert "error: rank 1 on node-b (pid " in cluster.log(0).read_text(), cluster.said()[-3000:]
    if cluster.launcher == "torchrun":  # pdsh cannot bring home what a host that is cut off says
        assert "error: rank 0 on node-a (pid " in cluster.log(1).read_text(), cluster.said()[-3000:]

    cluster.b.join()
    other = 5 - zero
    for on, place, step, stage in (
        ({"node-a": 1}, first, 7, zero),
        ({"node-a": 2, "node-b": 1}, last, 13 if first == last else 3, zero),
        ({"node-a": 1}, last, -1, other),
    ):
        launchers = cluster.start(on, program(place, step, "stop", stage, sum(on.values())))
        codes = [launcher.wait(300) for launcher in launchers]
        assert any(codes) == (step >= 0), cluster.said()[-3000:]
        assert ("stopped by " in cluster.said()) == (step >= 0), cluster.said()[-3000:]
    ours, whole = losses(run, command), losses(material / command, command)
    assert len(ours) == len(whole) == STEPS
    assert ours == pytest.approx(whole, rel=1e-6)
