"""Test that `--kernels` is checked before a run, whichever way the choice was made."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bistil_kernels.runtime import choice

from bistil_ds.distillation.arguments import DistillationArguments
from bistil_ds.errors import InputError
from bistil_ds.training.arguments import check_training_arguments
from bistil_ds.training.kernels.flag import chosen_kernels
from bistil_ds.training.request import TrainingRequest, with_defaults
from bistil_ds.tuning.arguments import TaskTrainingArguments


def tried(kind: type[Any], **flags: Any) -> None:
    given = with_defaults([kind], {"output_dir": "nowhere", "report_to": "none", "learning_rate": 1e-4, **flags})
    check_training_arguments(TrainingRequest(kind, given), {})


@pytest.mark.parametrize("kind", [DistillationArguments, TaskTrainingArguments])
def test_a_choice_works_or_one_line_says_why_not(kind: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for works in ("auto", "torch", None):
        tried(kind, kernels=works)
    with pytest.raises(InputError, match=r"^--kernels triton: Triton's kernels need a GPU; leave it out, or"):
        tried(kind, kernels="triton")
    with pytest.raises(InputError, match=r"^--kernels cuda: expected one of auto, triton, torch$"):
        tried(kind, kernels="cuda")


@pytest.mark.parametrize(
    ("held", "message"),
    [("cuda", "the choice is 'cuda', expected one of auto"), ("triton", "Triton's kernels need a GPU")],
)
def test_the_environment_is_named_where_it_chose(held: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_choice", held)  # what the variable does at import
    monkeypatch.setattr(choice, "find_spec", lambda name: object())
    with pytest.raises(InputError, match=rf"^BISTIL_KERNELS \(or bistil_kernels.use\): {message}"):
        tried(DistillationArguments)
    assert chosen_kernels("torch", on_gpu=False) == "torch", "the flag goes before it"


def test_triton_without_triton_is_refused_on_a_gpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^--kernels triton: .*triton is not installed: pip install triton"):
        chosen_kernels("triton", on_gpu=True)
    assert chosen_kernels(None, on_gpu=True) == "auto"
