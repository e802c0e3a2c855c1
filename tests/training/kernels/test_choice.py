"""Test what a run does about its kernels: the check before it, the warning, the agreement of ranks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sparse_material
import torch
from bistil_kernels import use
from bistil_kernels.runtime.choice import FAMILIES, allows, chosen, using

from bistil_ds.distributed import startup
from bistil_ds.errors import InputError, Notice
from bistil_ds.training.kernels import choice
from bistil_ds.training.kernels.choice import KernelChoice, choose_kernels

REASON = "CompilationError: at 7:0: x = tl.dot(a, b)"


@pytest.fixture(autouse=True)
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Pretend that there is a GPU on which attention_map fails; yield the checks that were made."""
    made: list[Any] = []

    def failing(device: torch.device, dtype: torch.dtype) -> dict[str, str]:
        made.append((str(device), dtype))
        return {"attention_map": REASON}

    monkeypatch.setattr(choice, "failing_families", failing)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    for cached in (choice._failing, choice._warn):
        cached.cache_clear()
    with using("auto"):
        yield made
    for cached in (choice._failing, choice._warn):
        cached.cache_clear()


def arguments(device: str = "cuda:0", bf16: bool = True, fp16: bool = False, **more: Any) -> Any:
    return SimpleNamespace(device=torch.device(device), bf16=bf16, fp16=fp16, **more)


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ({}, torch.bfloat16),
        ({"bf16": False, "fp16": True}, torch.float16),
        ({"bf16": False, "kernels": "auto"}, torch.float32),
    ],
)
def test_a_family_that_fails_is_served_by_pytorch_during_the_run(
    flags: dict[str, Any], dtype: torch.dtype, checks: list[Any]
) -> None:
    with pytest.warns(Notice) as warned:
        kernels = choose_kernels(arguments(**flags))
    assert checks == [("cuda:0", dtype)]
    name = str(dtype).removeprefix("torch.")
    assert kernels == KernelChoice("auto", "a GPU", name, {"attention_map": REASON})
    (text,) = (str(one.message) for one in warned)
    for words in (name, "on a GPU", f"attention_map ({REASON})", "run.json", "results.kernels", "--kernels torch"):
        assert words in text
    with kernels.serving():
        assert [family for family in FAMILIES if not allows(family)] == ["attention_map"]
    assert all(map(allows, FAMILIES))
    assert kernels.as_text() == f"auto on a GPU, checked in {name}: failed\n\nPyTorch for attention_map: {REASON}"


def test_the_check_and_its_warning_come_once_in_a_process(checks: list[Any]) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for bf16 in (True, True, True, False):
            choose_kernels(arguments(bf16=bf16))
    assert len(checks) == len(warned) == 2, "once for each dtype"


def test_what_fails_on_one_rank_is_served_by_pytorch_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "failing_families", lambda device, dtype: {})
    of_ranks = [{}, {"logits": "on rank 1"}, {"logits": "on rank 2", "hidden_state": "there too"}]
    monkeypatch.setattr(startup, "from_every_rank", lambda mine: [mine, *of_ranks[1:]])
    with pytest.warns(Notice, match=r"logits \(on rank 1\)"):
        kernels = choose_kernels(arguments())
    assert kernels.failed == {"logits": "on rank 1", "hidden_state": "there too"}
    choice._warn.cache_clear()
    monkeypatch.setattr(startup, "rank", lambda: 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_kernels(arguments()).failed == kernels.failed, "only rank 0 warns"


def test_kernels_that_all_work_are_not_worth_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "failing_families", lambda device, dtype: {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernels = choose_kernels(arguments())
    assert kernels.as_text() == "auto on a GPU, checked in bfloat16: all work"


@pytest.mark.parametrize("flag", ["triton", "torch"])
def test_a_choice_that_was_made_needs_no_check(flag: str, checks: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bistil_kernels.runtime.choice.find_spec", lambda name: object())
    kernels = choose_kernels(arguments(kernels=flag))
    assert kernels == KernelChoice(flag, "a GPU")
    assert checks == []
    with kernels.serving():
        assert chosen() == flag
    use(flag)  # without the flag, the choice of the process holds
    assert choose_kernels(arguments(kernels=None)) == kernels


def test_on_a_cpu_nothing_is_checked_and_nothing_said(checks: list[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernels = choose_kernels(arguments("cpu"))
    assert checks == []
    assert kernels.as_record() == {"choice": "auto", "device": "cpu", "checked": None, "failed": {}}
    assert kernels.as_text() == "auto on cpu"
    with pytest.raises(InputError, match="--kernels triton: Triton's kernels need a GPU"):
        choose_kernels(arguments("cpu", kernels="triton"))


def test_a_family_that_the_program_switched_off_stays_off() -> None:
    use("auto", switched_off=["logits"])
    with pytest.warns(Notice), choose_kernels(arguments()).serving():
        assert [family for family in FAMILIES if not allows(family)] == ["attention_map", "logits"]


def test_the_selection_between_two_stages_follows_the_flag(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trainer = sparse_material.lottery(sparse_material.write_base(tmp_path / "base"), tmp_path / "out")
    trainer.args.kernels = "torch"
    held: list[str] = []
    monkeypatch.setattr(trainer, "_run", lambda stage, resume: held.append(chosen()))
    with pytest.raises(InputError):  # nothing was trained, so there is no result to load
        trainer.train()
    assert held == ["torch", "torch"]
    assert chosen() == "auto"
