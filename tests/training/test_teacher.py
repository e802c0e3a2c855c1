"""Test that the teacher is placed frozen and in the requested precision."""

from __future__ import annotations

import pytest
import tiny
import torch

from bistil_ds.training.teacher import place_teacher, teacher_dtype

CPU = torch.device("cpu")


def test_automatic_precision_is_fp32_without_a_gpu() -> None:
    assert teacher_dtype("auto", CPU) == torch.float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_automatic_precision_is_bf16_on_a_gpu_that_computes_in_it() -> None:
    expected = torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float32
    assert teacher_dtype("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize(
    ("name", "dtype", "rounding"),
    [("float32", torch.float32, 0), ("bfloat16", torch.bfloat16, 2**-8), ("float16", torch.float16, 2**-11)],
)
def test_a_named_precision_is_what_the_teacher_runs_in(name: str, dtype: torch.dtype, rounding: float) -> None:
    exact, teacher = tiny.xlmr(50), tiny.xlmr(50)
    placed = place_teacher(teacher, CPU, teacher_dtype(name, CPU))
    ids_BT = torch.randint(5, 50, (2, 9))
    found, expected = placed(ids_BT).logits, exact(ids_BT).logits
    assert found.dtype == dtype
    error = (found - expected).abs().max() / expected.abs().max()
    assert rounding / 20 <= error <= rounding * 20


@pytest.mark.parametrize("config", [None, {}, {"zero_optimization": {"stage": 2}}])
def test_below_zero_3_the_teacher_itself_is_frozen_and_cast(config: dict[str, object] | None) -> None:
    teacher = tiny.xlmr(50).train()
    placed = place_teacher(teacher, CPU, torch.bfloat16, config)
    assert placed is teacher
    assert not teacher.training
    assert {p.dtype for p in teacher.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for p in teacher.parameters())
