"""Test that the two stages, killed at any point, resume to the same bits, without DeepSpeed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sparse_material as material
import torch
from sparse_material import lottery, moved, same

from bistil_ds.errors import InputError, Notice
from bistil_ds.runs import checkpoints
from bistil_ds.runs.seals import write_seal
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.tuning.lottery_ticket import Stage


def test_checkpoints_of_the_sparse_stage_hold_what_trains_and_not_the_base(
    base: Path, tmp_path: Path, run: Any
) -> None:
    sft = run[1]
    killed(base, tmp_path / "out", "sparse", 4)
    checkpoint = checkpoints.all_checkpoints(tmp_path / "out" / "stage-2-sparse")[-1]
    assert same(SparseFineTuning.load(checkpoint), sft)
    assert not (checkpoint / "model.safetensors").exists()
    states = torch.load(checkpoint / "optimizer.pt", weights_only=True)["state"].values()
    assert sum(state["exp_avg"].numel() for state in states) == moved(sft) + sum(t.numel() for t in sft.dense.values())


class Killed(Exception):
    pass


def killed(base: Path, out: Path, kind: str, step: int | None, **sparse: Any) -> None:
    """Stop a run in the stage `kind` after its checkpoint at `step`; None: at the stage's end, before its result."""

    def make(model: Any, args: Any, stage: Stage) -> material.TagTrainer:
        trainer = material.factory()(model, args, stage)
        if stage.kind == kind:

            def on_saved() -> None:
                if trainer.state.global_step == step:
                    raise Killed

            def probe(_: Any) -> None:
                if step is None:
                    raise Killed

            trainer.on_saved, trainer.probe = on_saved, probe
        return trainer

    trainer = lottery(base, out, **sparse)
    trainer.make_trainer = make
    with pytest.raises(Killed):
        trainer.train()


@pytest.mark.parametrize(("kind", "step"), [("full", 2), ("full", None), ("sparse", 2), ("sparse", None)])
def test_a_killed_run_resumes_to_the_same_bits(
    base: Path, tmp_path: Path, run: Any, kind: str, step: int | None
) -> None:
    out = tmp_path / "out"
    killed(base, out, kind, step)
    assert same(lottery(base, out).train(resume=True), run[1])


# the usual schedule ends at 0, where a step changes nothing
CONSTANT = {"training": {"lr_scheduler_type": "constant"}}


@pytest.fixture(scope="module")
def at_a_constant_rate(base: Path, tmp_path_factory: pytest.TempPathFactory) -> SparseFineTuning:
    return lottery(base, tmp_path_factory.mktemp("constant") / "out", **CONSTANT).train()


@pytest.mark.parametrize("kind", ["full", "sparse"])
def test_a_stage_killed_between_its_last_checkpoint_and_its_result_takes_no_further_step(
    base: Path, tmp_path: Path, at_a_constant_rate: SparseFineTuning, kind: str
) -> None:
    killed(base, tmp_path / "cut", kind, None, **CONSTANT)
    trained: list[int] = []
    cut = lottery(base, tmp_path / "cut", probe=lambda t, _: trained.append(t.state.global_step), **CONSTANT)
    assert same(cut.train(resume=True), at_a_constant_rate)
    assert set(trained) == {4}


def test_a_damaged_result_is_named_and_its_stage_runs_again(base: Path, tmp_path: Path, run: Any) -> None:
    out = tmp_path / "out"
    shutil.copytree(run[0], out)
    shutil.rmtree(out / "stage-2-sparse")
    chosen = out / "stage-1-full" / "result" / "selection.safetensors"
    chosen.write_bytes(chosen.read_bytes()[:-1] + b"x")
    with pytest.warns(Notice, match="the full stage runs again: .*selection.safetensors: not the bytes"):
        assert same(lottery(base, out).train(resume=True), run[1])


def test_a_result_that_a_stranger_sealed_is_not_used(base: Path, tmp_path: Path, run: Any) -> None:
    out = tmp_path / "out"
    shutil.copytree(run[0], out)
    write_seal(out / "stage-1-full" / "result", b"the key of a stranger", world_size=1)
    with pytest.raises(InputError, match="not signed with your key"):
        lottery(base, out).train(resume=True)


def test_a_run_killed_between_the_stages_resumes_to_the_same_bits(base: Path, tmp_path: Path, run: Any) -> None:
    out = tmp_path / "out"
    shutil.copytree(run[0], out)
    shutil.rmtree(out / "stage-2-sparse")
    assert same(lottery(base, out).train(resume="last"), run[1])
    assert same(lottery(base, out).train(resume=True), run[1])  # a finished run has nothing left to do


def test_a_finished_stage_keeps_its_history_and_no_checkpoint(run: Any) -> None:
    for folder in (run[0] / "stage-1-full", run[0] / "stage-2-sparse"):
        assert not list(folder.glob("checkpoint-*"))
        history = json.loads((folder / "trainer_state.json").read_text())
        assert [row["step"] for row in history["log_history"] if "loss" in row] == [1, 2, 3, 4]


@pytest.mark.parametrize("removed", [0, 1], ids=["before the removal", "within the removal"])
@pytest.mark.parametrize("kind", ["full", "sparse"])
def test_a_run_killed_while_it_removes_checkpoints_resumes_to_the_same_bits(
    base: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch, kind: str, removed: int
) -> None:
    left, remove = [removed], shutil.rmtree

    def killing(folder: Path, **how: Any) -> None:
        if folder.parent.name.endswith(kind):
            if not left[0]:
                raise Killed
            left[0] -= 1
        remove(folder, **how)

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killing)
        with pytest.raises(Killed):
            lottery(base, out).train()
    assert list(out.glob(f"*-{kind}/checkpoint-*"))
    assert same(lottery(base, out).train(resume=True), run[1])
    assert not list(out.glob("*/checkpoint-*"))
    steps = [json.loads(path.read_text())["global_step"] for path in sorted(out.glob("*/trainer_state.json"))]
    assert steps == [4, 4]


def test_a_run_is_not_begun_over_another_nor_resumed_with_another_base_or_k(
    base: Path, tmp_path: Path, run: Any
) -> None:
    out = tmp_path / "out"
    shutil.copytree(run[0], out)
    with pytest.raises(InputError, match="holds an earlier run"):
        lottery(base, out).train()
    shutil.rmtree(out / "stage-2-sparse")
    with pytest.raises(InputError, match="was chosen for"):
        lottery(base, out, density=0.05).train(resume=True)
    other = lottery(base, out)
    other.metadata["base_hash"] = "0" * 64
    with pytest.raises(InputError, match="was chosen for"):
        other.train(resume=True)
