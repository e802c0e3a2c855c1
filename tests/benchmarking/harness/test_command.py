"""Test what a benchmark's flags are turned into: the device that is measured."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from bistil_ds.benchmarking.harness.command import choose_device
from bistil_ds.benchmarking.memory.measure import BUILDERS, Input
from bistil_ds.errors import InputError


@pytest.fixture
def current_gpu(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Pretend that this machine has GPUs, and return the current one: a tensor on "cuda" is on it, as in PyTorch."""
    gpu = torch.device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda _, device: SimpleNamespace(device=gpu if device == "cuda" else device))
    return gpu


@pytest.mark.parametrize("name", [None, "cuda"])
def test_a_gpu_is_chosen_with_its_index(name: str | None, current_gpu: torch.device) -> None:
    assert choose_device(name) == current_gpu


@pytest.mark.parametrize("stage", BUILDERS)
def test_every_stage_of_the_memory_benchmark_can_make_the_chosen_gpu_the_current_one(
    stage: str, current_gpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Chosen(Exception):
        """Ends the stage, as this machine has no such GPU."""

    def set_current(index: int) -> None:
        raise Chosen(index)

    monkeypatch.setattr(torch._C, "_cuda_setDevice", set_current, raising=False)
    with pytest.raises(Chosen, match="2"):
        BUILDERS[stage]("no folder is read", Input(1, 1, "float32", str(choose_device("cuda"))))


def test_a_device_that_cannot_be_timed_is_refused() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="--device meta: cannot be timed; give cpu or cuda"):
        choose_device("meta")
