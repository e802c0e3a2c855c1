"""Test sparse training under DeepSpeed: only chosen entries move, work is K-sized, results equal plain PyTorch's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sparse_material as material
import torch
from launch import PROGRAMS, python_path, start_ranks
from safetensors.torch import load_file

from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sparse.maskable import maskable_parameters
from bistil_ds.tuning.lottery_ticket import LotteryTicketTrainer

ACCUMULATE = {"gradient_accumulation_steps": 2, "max_grad_norm": 0.3}
# The epsilon is large because a key bias has a gradient of 0 but for rounding, which Adam would amplify.
ADAM = {"adam_epsilon": 1e-3}
STEPS = 6
EPOCHS: dict[str, Any] = {  # two in each stage, of three steps
    "rows": 24,
    "sparse": {"full_max_steps": STEPS, "sparse_max_steps": STEPS},
}

GROUPED = {"train_sampling_strategy": "group_by_length"}


def zero(base: Path, folder: Path, ranks: int, runs: list[dict[str, Any]]) -> None:
    """Run `sparse_zero.py` on `ranks` ranks, with 4 rows a micro-step over all of them."""
    for run in runs:
        batch = {"per_device_train_batch_size": 4 // ranks}
        run["arguments"] = {**batch, **ACCUMULATE, **ADAM, **run.get("arguments", {})}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": python_path()}
    words = [*start_ranks(ranks), str(PROGRAMS / "sparse_zero.py"), str(base), str(folder), json.dumps(runs)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=850, check=False)
    assert done.returncode == 0, done.stdout[-2500:] + done.stderr[-5000:]


def plain(
    base: Path, folder: Path, mlm: bool = False, rows: int = 64, sparse: dict[str, Any] | None = None, **more: Any
) -> Any:
    """Train in this process, without DeepSpeed, with the same settings; return the SFT."""
    args = material.arguments(folder, **{**ACCUMULATE, **ADAM, **more})
    make = material.factory(mlm, rows, padding=False)
    load = lambda: material.load(base, mlm)  # noqa: E731
    return LotteryTicketTrainer(load, make, args, material.sparse(**(sparse or {})), base).train()


def result(folder: Path, name: str) -> SparseFineTuning:
    return SparseFineTuning.load(folder / name / "stage-2-sparse" / "result")


def assert_close(found: SparseFineTuning, expected: SparseFineTuning, atol: float = 1e-6) -> None:
    assert found.sparse.keys() == expected.sparse.keys()
    for name, diff in expected.sparse.items():
        assert found.sparse[name].indices_K.equal(diff.indices_K), name
        torch.testing.assert_close(found.sparse[name].values_K, diff.values_K, rtol=0, atol=atol)
    assert found.dense.keys() == expected.dense.keys()
    for name, tensor in expected.dense.items():
        torch.testing.assert_close(found.dense[name], tensor, rtol=0, atol=atol)


def assert_only_chosen_entries_moved(base: Path, folder: Path, name: str, mlm: bool = False) -> None:
    """Check to the bit that chosen entries hold start + delta and that all others hold their start."""
    sft, model = result(folder, name), material.load(base, mlm)
    assert sum(len(diff.indices_K) for diff in sft.sparse.values()) == round(0.08 * maskable(base, mlm))
    sft.apply(model)
    weights = load_file(folder / f"{name}.safetensors")
    assert weights.keys() == dict(model.named_parameters()).keys()
    assert all(p.equal(weights[n]) for n, p in model.named_parameters())


def maskable(base: Path, mlm: bool = False) -> int:
    return sum(p.numel() for p in maskable_parameters(material.load(base, mlm)).values())


def assert_work_is_k_sized(base: Path, folder: Path, name: str, ranks: int) -> None:
    sft = result(folder, name)
    trained = round(0.08 * maskable(base)) + sum(t.numel() for t in sft.dense.values())
    sizes = [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(ranks)]
    state = sum(each["sparse"]["state"] for each in sizes)
    whole = ranks if name.startswith("zero0") else 1  # at stage 0 each rank has the whole state
    assert whole * trained <= state <= whole * trained + 100  # padding gives all partitions one length
    for each in sizes:
        micro_steps = STEPS * ACCUMULATE["gradient_accumulation_steps"]
        assert STEPS * trained <= each["sparse"]["reduced"] <= micro_steps * (trained + 100)
        assert each["full"]["reduced"] > 8 * each["sparse"]["reduced"]


def epochs(stage: int) -> dict[str, Any]:
    """Return a run of two epochs; at ZeRO-3 in batches grouped by length."""
    return {"zero": stage, **EPOCHS, **({"arguments": GROUPED} if stage == 3 else {})}


@pytest.fixture(scope="module")
def two_ranks(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run ZeRO-2 and ZeRO-3 on two ranks, one after the other in one process, each also killed and resumed."""
    folder = tmp_path_factory.mktemp("two")
    runs: list[dict[str, Any]] = []
    for stage in (2, 3):
        runs += [{"name": f"zero{stage}", **epochs(stage)}]
        killed = {"name": f"zero{stage}-killed", **epochs(stage)}
        runs += [{**killed, "kill": ["sparse", 4], "copy": f"zero{stage}-stopped"}, {**killed, "resume": True}]
    zero(base, folder, 2, runs)
    return folder


@pytest.fixture(scope="module")
def expected(base: Path, tmp_path_factory: pytest.TempPathFactory) -> SparseFineTuning:
    return plain(base, tmp_path_factory.mktemp("plain") / "out", **EPOCHS)


@pytest.fixture(scope="module")
def expected_grouped(base: Path, tmp_path_factory: pytest.TempPathFactory) -> SparseFineTuning:
    return plain(base, tmp_path_factory.mktemp("grouped") / "out", **EPOCHS, **GROUPED)


@pytest.mark.parametrize("stage", [2, 3])
def test_two_ranks_leave_no_checkpoint_of_a_finished_stage(two_ranks: Path, stage: int) -> None:
    for name in (f"zero{stage}", f"zero{stage}-killed"):
        assert not list((two_ranks / name).glob("*/checkpoint-*"))
        assert len(list((two_ranks / name).glob("*/trainer_state.json"))) == 2


@pytest.mark.parametrize("stage", [2, 3])
def test_two_ranks_move_the_chosen_entries_only(base: Path, two_ranks: Path, stage: int) -> None:
    assert_only_chosen_entries_moved(base, two_ranks, f"zero{stage}")


def test_two_ranks_find_what_plain_pytorch_finds(
    two_ranks: Path, expected: SparseFineTuning, expected_grouped: SparseFineTuning
) -> None:
    assert_close(result(two_ranks, "zero2"), expected)
    assert_close(result(two_ranks, "zero3"), expected_grouped)


@pytest.mark.parametrize("stage", [2, 3])
def test_gradients_state_and_reduced_bytes_are_k_sized(base: Path, two_ranks: Path, stage: int) -> None:
    assert_work_is_k_sized(base, two_ranks, f"zero{stage}", 2)


@pytest.mark.parametrize("stage", [2, 3])
def test_two_killed_ranks_go_on_to_the_same_bits(two_ranks: Path, stage: int) -> None:
    assert_close(result(two_ranks, f"zero{stage}-killed"), result(two_ranks, f"zero{stage}"), atol=0)


def test_one_rank_goes_on_where_two_stopped(
    base: Path, tmp_path: Path, two_ranks: Path, expected: SparseFineTuning, expected_grouped: SparseFineTuning
) -> None:
    for stage in (2, 3):
        shutil.copytree(two_ranks / f"zero{stage}-stopped", tmp_path / f"zero{stage}")
    zero(base, tmp_path, 1, [{"name": f"zero{stage}", "resume": True, **epochs(stage)} for stage in (2, 3)])
    for stage in (2, 3):
        assert_close(result(tmp_path, f"zero{stage}"), expected_grouped if stage == 3 else expected)
        assert_only_chosen_entries_moved(base, tmp_path, f"zero{stage}")


def test_sparse_checkpoints_hold_no_frozen_weight(two_ranks: Path) -> None:
    for stage in (2, 3):
        folder = two_ranks / f"zero{stage}-stopped" / "stage-2-sparse" / "checkpoint-4"
        assert (folder / "complete.json").is_file()
        assert not list(folder.rglob("model.safetensors"))
        for path in folder.rglob("*model_states.pt"):
            states = torch.load(path, weights_only=False)
            assert not states.get("frozen_param_fragments")
            frozen = [n for n in states["module"] if not n.endswith("_delta") and not n.startswith("classifier")]
            assert not frozen


PENALTIES = [{"full_l1": 5.0, "sparse_l1": 5.0}, {"sparse_l1": 5.0}]  # the second one is for ZeRO-3


@pytest.fixture(scope="module")
def tied(base: Path, tmp_path_factory: pytest.TempPathFactory) -> SparseFineTuning:
    return plain(base, tmp_path_factory.mktemp("tied") / "out", mlm=True)


@pytest.fixture(scope="module")
def penalised(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[SparseFineTuning]:
    """Train with each of `PENALTIES`, without DeepSpeed."""
    folder = tmp_path_factory.mktemp("penalised")
    return [plain(base, folder / str(n), sparse=each) for n, each in enumerate(PENALTIES)]


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_every_stage_agrees_with_plain_pytorch(
    base: Path,
    tmp_path: Path,
    expected: SparseFineTuning,
    tied: SparseFineTuning,
    penalised: list[SparseFineTuning],
    stage: int,
    ranks: int,
) -> None:
    name = f"zero{stage}"
    l1 = {"name": f"{name}-l1", "sparse": PENALTIES[stage == 3]}
    runs: list[dict[str, Any]] = [{"name": name, **EPOCHS}, {"name": f"{name}-mlm", "mlm": True}, l1]
    runs.append({"name": f"{name}-bf16", "arguments": {"bf16": True}})
    zero(base, tmp_path, ranks, [{"zero": stage, **run} for run in runs])
    assert_close(result(tmp_path, name), expected)
    assert_only_chosen_entries_moved(base, tmp_path, name)
    assert_work_is_k_sized(base, tmp_path, name, ranks)
    assert_close(result(tmp_path, f"{name}-mlm"), tied)
    assert_only_chosen_entries_moved(base, tmp_path, f"{name}-mlm", mlm=True)
    assert_close(result(tmp_path, f"{name}-l1"), penalised[stage == 3])
    assert_bf16_keeps_masters(base, tmp_path, f"{name}-bf16")


def assert_bf16_keeps_masters(base: Path, folder: Path, name: str) -> None:
    """Check that unchosen entries are θ0 rounded and chosen ones that plus the rounded delta; the SFT is unrounded."""
    sft, weights = result(folder, name), load_file(folder / f"{name}.safetensors")
    values = torch.cat([diff.values_K for diff in sft.sparse.values()])
    assert values.dtype == torch.float32
    assert (values != values.bfloat16().float()).float().mean() > 0.5
    for parameter, start in maskable_parameters(material.load(base)).items():
        held = start.detach().bfloat16().flatten()
        if (diff := sft.sparse.get(parameter)) is not None:
            index = diff.indices_K.long()
            held[index] = (held[index].float() + diff.values_K.bfloat16().float()).bfloat16()
        assert weights[parameter].dtype == torch.bfloat16
        assert weights[parameter].flatten().equal(held), parameter


@pytest.mark.slow
def test_two_ranks_without_deepspeed_agree_too(base: Path, tmp_path: Path, expected: SparseFineTuning) -> None:
    zero(base, tmp_path, 2, [{"name": "ddp", **EPOCHS}])
    assert_close(result(tmp_path, "ddp"), expected)
    assert_only_chosen_entries_moved(base, tmp_path, "ddp")
