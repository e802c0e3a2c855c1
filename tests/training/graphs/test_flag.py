"""Test that `--cuda_graphs` is refused, in one line that names the other flag, where graphs cannot hold a run."""

from __future__ import annotations

from typing import Any

import pytest
from transformers.training_args import OptimizerNames

from bistil_ds.commands import general
from bistil_ds.distillation import checks
from bistil_ds.distillation.arguments import DistillationArguments
from bistil_ds.distillation.from_flags import FLAGS, request_of
from bistil_ds.errors import InputError
from bistil_ds.training.graphs.flag import OPTIMIZER, check_graphs
from bistil_ds.training.request import with_defaults

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"deepspeed": "zero0"}, "--deepspeed zero0: does not go with --cuda_graphs: its engine reads"),
    ({"deepspeed": "zero2"}, "--deepspeed zero2: "),
    ({"deepspeed": "zero2_offload"}, "--deepspeed zero2_offload: "),
    ({"deepspeed": "zero3"}, "--deepspeed zero3: "),
    ({"fp16": True}, "--fp16: does not go with --cuda_graphs: its loss scaler .* take --bf16"),
    ({"gradient_checkpointing": True}, "--gradient_checkpointing: "),
    ({"activation_checkpointing": True}, "--activation_checkpointing: "),
    ({"torch_compile": True}, "--torch_compile: "),
    ({"torch_compile_mode": "max-autotune"}, "--torch_compile_mode max-autotune: "),
    ({"torch_compile_backend": "eager"}, "--torch_compile_backend eager: "),
    ({"compile_teacher": True}, "--compile_teacher: "),
    ({"torch_empty_cache_steps": 4}, "--torch_empty_cache_steps 4: "),
    (
        {"gradient_accumulation_steps": 4},
        "--gradient_accumulation_steps 4: .* take --per_device_train_batch_size 32",
    ),
    ({"optim": "adafactor"}, "--optim adafactor: .* only adamw_torch_fused is recorded"),
    ({"optim": OptimizerNames.ADAMW_TORCH}, "--optim adamw_torch: "),
    ({"logit_weight": "0.5"}, "--logit_weight 0.5: .* number of masked tokens"),
    ({"mlm_weight": "1:0"}, "--mlm_weight 1:0: "),
]


def flags(**changes: Any) -> dict[str, Any]:
    return {**with_defaults(FLAGS, {}), "cuda_graphs": True, "optim": OPTIMIZER, **changes}


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_graphs_cannot_hold_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        check_graphs(flags(**changes), on_gpu=True, ranks=1)
    assert "\n" not in str(error.value)
    check_graphs(flags(cuda_graphs=False, **changes), on_gpu=True, ranks=1)


def test_a_cpu_and_several_ranks_are_refused() -> None:
    with pytest.raises(InputError, match="--cuda_graphs: needs a GPU; leave it out"):
        check_graphs(flags(), on_gpu=False, ranks=1)
    with pytest.raises(InputError, match="--cuda_graphs: is for one rank, and this run has 2"):
        check_graphs(flags(), on_gpu=True, ranks=2)


def test_the_published_run_can_have_graphs_and_the_optimizer_is_the_usual_one() -> None:
    check_graphs(flags(bf16=True, hidden_weight="1:0", relation_weight="1"), on_gpu=True, ranks=1)
    arguments = DistillationArguments(output_dir="unused")
    assert arguments.optim == OPTIMIZER
    check_graphs({**flags(), **vars(arguments), "cuda_graphs": True}, on_gpu=True, ranks=1)


def test_the_command_and_python_refuse_it_before_anything_is_built(capsys: pytest.CaptureFixture[str]) -> None:
    assert general.main(["--cuda_graphs", "--use_cpu"]) == 2
    assert "--cuda_graphs: needs a GPU; leave it out" in capsys.readouterr().err
    with pytest.raises(InputError, match="--cuda_graphs: needs a GPU"):
        request_of(teacher_model="none", text={"aa": "aa.txt"}, cuda_graphs=True, use_cpu=True)


def test_the_command_refuses_flags_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        checks, "check_graphs", lambda flags, on_gpu, ranks: check_graphs(flags, on_gpu=True, ranks=ranks)
    )
    with pytest.raises(InputError, match="--mlm_weight 1: does not go with --cuda_graphs"):
        request_of(teacher_model="none", text={"aa": "aa.txt"}, cuda_graphs=True, mlm_weight="1")
