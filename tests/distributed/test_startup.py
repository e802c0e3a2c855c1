"""Test that DeepSpeed files are found by name from anywhere and must not contradict the flags."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from launch import PROGRAMS, start_ranks

from bistil_ds.commands.general import COMMAND
from bistil_ds.console import cli
from bistil_ds.distributed import startup
from bistil_ds.distributed.config import check_deepspeed, find_config, read_config
from bistil_ds.errors import InputError, OtherRankError

SHIPPED = {"zero0": 0, "zero1": 1, "zero2": 2, "zero3": 3, "zero2_offload": 2, "zero3_offload": 3}


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("form", ["{}", "{}.json", "ds_configs/{}.json"])
def test_a_shipped_file_is_found_from_any_folder(
    name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = read_config(find_config(form.format(name)))
    assert config["zero_optimization"]["stage"] == SHIPPED[name]
    assert ("offload_optimizer" in config["zero_optimization"]) == ("offload" in name)


def test_a_file_of_the_users_own_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("zero2.json").write_text("{}")
    assert find_config("zero2.json") == tmp_path / "zero2.json"


@pytest.mark.parametrize("name", ["zero2.yaml", "my/zero2.json", "/etc/ds_configs/zero2.json", "zero7"])
def test_a_wrong_path_is_no_shipped_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"--deepspeed {name}: no such file; .* zero3_offload"):
        find_config(name)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_files_agree_with_any_flags(name: str) -> None:
    check_deepspeed(vars(arguments("--deepspeed", name, "--learning_rate", "1", "--bf16", "--max_grad_norm", "9")))


AGREEING: list[dict[str, Any]] = [
    {"train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 2, "train_batch_size": 24},
    {"gradient_clipping": 1.0, "bf16": {"enabled": False}},
    {"optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "betas": [0.9, 0.999], "eps": 1e-8}}},
    {},
]
CONTRADICTING: list[tuple[dict[str, Any], str]] = [
    ({"train_batch_size": 8}, "train_batch_size is 8, but batch x accumulation x ranks is 24"),
    ({"gradient_accumulation_steps": 1}, "gradient_accumulation_steps is 1, but --gradient_accumulation_steps is 2"),
    ({"fp16": {"enabled": True}}, "fp16.enabled is True, but --fp16 is False"),
    ({"optimizer": {"params": {"betas": [0.9, 0.98]}}}, r"optimizer.params.betas is \[0.9, 0.98\], but --adam_beta1"),
    ({"scheduler": {"params": {"total_num_steps": 7}}}, "total_num_steps is 7, but --max_steps is 50"),
    ({"zero_optimization": {"stage": "3"}}, "zero_optimization.stage is '3'; expected 0, 1, 2 or 3"),
]


def arguments(*flags: str) -> Any:
    words = ["--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "2", "--max_steps", "50"]
    words += ["--learning_rate", "1e-4", *flags]
    return cli.parse(words, COMMAND.flags, COMMAND.description)


def written(folder: Path, config: dict[str, Any]) -> str:
    path = folder / "ds.json"
    path.write_text(json.dumps(config))
    return str(path)


@pytest.mark.parametrize("config", AGREEING)
def test_a_file_may_repeat_the_flags(config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    check_deepspeed(vars(arguments("--deepspeed", written(tmp_path, config))))


@pytest.mark.parametrize(("config", "message"), CONTRADICTING)
def test_a_contradiction_names_both_sides(
    config: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match=message):
        check_deepspeed(vars(arguments("--deepspeed", written(tmp_path, config))))


def test_ranks_that_torchrun_starts_join_through_its_store_and_hear_of_an_error_on_rank_0() -> None:
    program = PROGRAMS / "joins_the_others.py"
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, env=environment, check=False)
    said = ["OSError: disk full", "OtherRankError: rank 0: OSError: disk full"]
    assert f"ranks [0, 1] {said}" in done.stdout, done.stderr[-2000:]


def test_a_rank_takes_its_share_of_the_threads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = [8]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    startup._all_threads.cache_clear()
    for _ in range(3):
        startup.prepare_environment(use_deepspeed=False)
    startup._all_threads.cache_clear()
    assert threads == [8, 4, 4, 4]


@pytest.mark.parametrize(
    ("given", "completed"),
    [
        ({}, {}),
        ({"RANK": "5"}, {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}),
        ({"RANK": "5", "LOCAL_RANK": "1"}, {"LOCAL_RANK": "1"}),
    ],
)
def test_ranks_without_a_local_rank_have_a_machine_each(
    given: dict[str, str], completed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(given))
    startup.complete_variables()
    assert os.environ == {**given, **completed}


@pytest.mark.slow
def test_a_second_run_waits_for_rank_0_longer_than_a_collective_may_take() -> None:
    program = PROGRAMS / "prepares_again.py"
    words = [*start_ranks(2), str(program)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "second run began on 2 ranks" in done.stdout


def test_a_rank_that_starts_after_rank_0_has_ended_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(startup.free_port())}
    for name, value in places.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(startup, "REACHED", timedelta(seconds=1))
    with pytest.raises(OtherRankError, match=r"^rank 1: nobody serves the ranks at 127\.0\.0\.1, port \d+: [^\n]+$"):
        startup.from_rank_0_early("key", None)


def test_ranks_that_are_there_wait_for_days_for_one_that_prepares(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(startup.free_port())}
    for name, value in places.items():
        monkeypatch.setenv(name, value)
    startup.open_store.cache_clear()
    assert startup.open_store().timeout == startup.PATIENCE
    startup.open_store.cache_clear()
