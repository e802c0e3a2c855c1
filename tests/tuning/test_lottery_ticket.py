"""Test the two stages without DeepSpeed: selection, reset, resumption, iterations, controls."""

from __future__ import annotations

import json
import shutil
import weakref
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sparse_material as material
import torch
from torch import Tensor

from bistil_ds.errors import InputError, Notice
from bistil_ds.runs import checkpoints
from bistil_ds.runs.seals import write_seal
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sparse import SparseArguments
from bistil_ds.sparse.maskable import maskable_parameters
from bistil_ds.sparse.selection import read_selection
from bistil_ds.tuning.lottery_ticket import LotteryTicketTrainer, Stage


def lottery(
    base: Path,
    out: Path,
    *,
    probe: Any = None,
    arguments: dict[str, Any] | None = None,
    mlm: bool = False,
    **sparse: Any,
) -> LotteryTicketTrainer:
    return LotteryTicketTrainer(
        lambda: material.load(base, mlm),
        material.factory(mlm, probe=probe),
        material.arguments(out, **(arguments or {})),
        material.sparse(**sparse),
        base,
        {"base_model": "tiny", "task": "pos"},
    )


def moved(sft: SparseFineTuning) -> int:
    return sum(len(diff.indices_K) for diff in sft.sparse.values())


def same(one: SparseFineTuning, other: SparseFineTuning) -> bool:
    assert one.sparse.keys() == other.sparse.keys()
    assert one.dense.keys() == other.dense.keys()
    return all(
        one.sparse[n].indices_K.equal(other.sparse[n].indices_K)
        and one.sparse[n].values_K.equal(other.sparse[n].values_K)
        for n in one.sparse
    ) and all(one.dense[n].equal(other.dense[n]) for n in one.dense)


@pytest.fixture(scope="module")
def run(
    base: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, SparseFineTuning, dict[str, dict[str, Tensor]]]:
    """Return the folder, the result and the weights at the end of each stage, from a whole run at 8 %."""
    out, weights = tmp_path_factory.mktemp("run") / "out", {}

    def probe(trainer: Any, stage: Stage) -> None:
        weights[stage.kind] = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}

    return out, lottery(base, out, probe=probe).train(), weights


def test_the_entries_that_moved_most_are_chosen_and_only_they_move(base: Path, run: Any) -> None:
    _, sft, weights = run
    start = material.load(base)
    maskable = maskable_parameters(start)
    k = round(0.08 * sum(p.numel() for p in maskable.values()))
    flat = torch.cat([(weights["full"][n] - p).abs().flatten() for n, p in maskable.items()])
    chosen = torch.zeros(len(flat), dtype=torch.bool)
    chosen[flat.sort(descending=True, stable=True).indices[:k]] = True
    place = 0
    for name, parameter in maskable.items():
        expected = chosen[place : place + parameter.numel()].nonzero().flatten()
        place += parameter.numel()
        found = sft.sparse[name].indices_K if name in sft.sparse else torch.empty(0)
        assert found.long().equal(expected), name
    assert moved(sft) == k
    for name, parameter in start.base_model.named_parameters(prefix="roberta"):
        changed = (weights["sparse"][name] != parameter).flatten()
        assert (
            not changed.any()
            if name not in sft.sparse
            else not changed.index_fill(0, sft.sparse[name].indices_K.long(), False).any()
        )
    assert sum((weights["sparse"][n] != p).sum() for n, p in maskable.items()) > 0.9 * k


def test_the_sft_says_what_it_is_for_and_gives_the_trained_weights(base: Path, run: Any) -> None:
    _, sft, weights = run
    assert sft.metadata["base_model"] == "tiny"
    assert sft.metadata["task"] == "pos"
    assert sft.metadata["density"] == pytest.approx(0.08, rel=0.01)
    model = material.load(base)
    sft.apply(model, check_base=base)
    assert all(p.equal(weights["sparse"][n]) for n, p in model.named_parameters())


def test_a_stage_leaves_no_model_behind_in_memory(base: Path, tmp_path: Path) -> None:
    trainers, models = [], []
    trainer = lottery(base, tmp_path / "out", full_l1=1.0, sparse_l1=1.0)
    make = trainer.make_trainer

    def watching(model: Any, args: Any, stage: Stage) -> Any:
        assert not any(weak() for weak in models)
        trainers.append(make(model, args, stage))
        models.append(weakref.ref(model))
        return trainers[-1]

    trainer.make_trainer = watching
    trainer.train()
    assert len(models) == 2
    assert not any(weak() for weak in models)
    assert [each.state.global_step for each in trainers] == [4, 4]  # the trainers themselves are still usable


def test_layer_norms_stay_as_they_are_in_both_stages(base: Path, run: Any) -> None:
    norms = {n: p for n, p in material.load(base).named_parameters() if "LayerNorm" in n}
    assert norms
    assert all(p.equal(stage[n]) for stage in run[2].values() for n, p in norms.items())


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
CONSTANT = {"arguments": {"lr_scheduler_type": "constant"}}


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


def test_the_model_must_be_the_one_in_the_base_folder(base: Path, tmp_path: Path) -> None:
    trainer = lottery(base, tmp_path / "out")

    def changed() -> Any:
        model = material.load(base)
        model.roberta.encoder.layer[0].output.dense.bias.data[3] += 1
        return model

    trainer.load_model = changed
    with pytest.raises(InputError, match=r"output\.dense\.bias is not the one in"):
        trainer.train()


def test_a_module_that_cannot_be_trained_sparsely_is_named_before_the_full_stage(base: Path, tmp_path: Path) -> None:
    trainer = lottery(base, tmp_path / "out")

    class Scaled(torch.nn.Linear):
        pass

    def with_its_own_linear() -> Any:
        model = material.load(base)
        model.roberta.encoder.layer[0].output.dense.__class__ = Scaled
        return model

    trainer.load_model = with_its_own_linear
    trainer.make_trainer = lambda *_: pytest.fail("training has begun")
    with pytest.raises(InputError, match=r"output\.dense is a Scaled: sparse training knows plain Linear and"):
        trainer.train()


def test_the_best_checkpoint_of_the_sparse_stage_is_kept(base: Path, tmp_path: Path) -> None:
    best = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 2, "metric_for_best_model": "loss"}
    best["greater_is_better"] = True  # makes an earlier checkpoint the best
    seen: dict[str, Any] = {}

    def probe(trainer: Any, stage: Stage) -> None:
        best = seen[stage.kind] = trainer.state.best_model_checkpoint
        seen["sft"] = SparseFineTuning.load(best) if best else None
        seen["weights"] = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}

    out = tmp_path / "out"
    trainer = lottery(base, out, probe=probe, arguments=best)
    sft = trainer.train()
    assert seen["full"] is None
    assert seen["sparse"].endswith("checkpoint-2")
    assert same(sft, seen["sft"])
    model = material.load(base)
    sft.apply(model)
    assert all(p.equal(seen["weights"][n]) for n, p in model.named_parameters())


def test_random_entries_need_no_full_stage_and_are_the_seeds(base: Path, tmp_path: Path) -> None:
    runs = [lottery(base, tmp_path / str(n), selection="random", k=400).train() for n in range(2)]
    other = lottery(base, tmp_path / "other", selection="random", k=400, arguments={"seed": 4}).train()
    assert not list(tmp_path.glob("*/*full"))
    assert moved(runs[0]) == 400
    assert same(*runs)
    assert not all(other.sparse[n].indices_K.equal(d.indices_K) for n, d in runs[0].sparse.items() if n in other.sparse)


def test_each_iteration_adds_its_part_and_goes_on_from_the_last(base: Path, tmp_path: Path) -> None:
    starts: dict[int, dict[str, Tensor]] = {}
    trainer = lottery(base, tmp_path / "out", iterations=3, k=1000)
    make = trainer.make_trainer

    def watching(model: Any, args: Any, stage: Stage) -> Any:
        starts[stage.number] = {n: p.detach().clone() for n, p in model.named_parameters()}
        return make(model, args, stage)

    trainer.make_trainer = watching
    sft = trainer.train()
    assert moved(sft) == 1000
    results = [SparseFineTuning.load(stage.result) for stage in trainer.stages if stage.kind == "sparse"]
    chosen = [read_selection(stage.result)[0] for stage in trainer.stages if stage.kind == "full"]
    assert [sum(map(len, each.values())) for each in chosen] == [333, 666, 1000]
    for earlier, later in pairwise(chosen):
        assert all(set(index.tolist()) <= set(later[name].tolist()) for name, index in earlier.items())
    for round_, result in enumerate(results[:-1]):
        model = material.load(base)
        result.apply(model)
        for stage in (2 * round_ + 3, 2 * round_ + 4):  # both stages of the next round
            assert all(starts[stage][n].equal(p) for n, p in model.named_parameters()), stage


def test_dense_training_moves_everything_in_one_stage(base: Path, tmp_path: Path) -> None:
    sft = lottery(base, tmp_path / "out", dense=True).train()
    model, start = material.load(base), material.load(base)
    sft.apply(model)
    assert not sft.sparse
    assert sft.dense.keys() == dict(start.named_parameters()).keys()
    assert sum((a != b).sum() for a, b in zip(model.parameters(), start.parameters())) > 0.7 * start.num_parameters()
    assert all((sft.dense[n] != p).any() for n, p in start.named_parameters() if "LayerNorm" in n)


def test_a_frozen_head_stays_and_a_tied_one_trains_with_its_embeddings(base: Path, tmp_path: Path) -> None:
    sft = lottery(base, tmp_path / "out", mlm=True, k=300).train()
    assert not sft.dense
    assert moved(sft) == 300


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"density": 0.0}, "--density 0: expected a number above 0"),
        ({"density": 1.01}, "--density 1.01: expected"),
        ({"density": float("nan")}, "--density nan: expected"),
        ({"k": 0}, "--k 0: expected 1 to 100,"),
        ({"k": 101}, "--k 101: expected 1 to 100,"),
        ({"k": 3, "iterations": 4}, "--iterations 4: expected 1 to 3"),
        ({"full_l1": -1.0}, "--full_l1 -1.0: expected a number of at least 0"),
        ({"sparse_epochs": 0.0}, "--sparse_epochs 0.0: expected a number above 0"),
        ({"sparse_max_steps": 0, "dense": True}, "--sparse_max_steps 0: expected a number above 0"),
        ({"sparse_epochs": -1.0, "dense": True}, "--sparse_epochs -1.0: expected a number above 0"),
        ({"selection": "random", "iterations": 3}, "--iterations 3: --selection random draws all entries at once"),
        ({"selection": "magnitude"}, "--selection magnitude: expected lottery or random"),
    ],
)
def test_what_cannot_be_used_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message.replace(".", r"\.")) as error:
        SparseArguments(**given).check(100)
    assert "\n" not in str(error.value)


def test_l1_in_the_full_stage_needs_whole_weights_and_no_loss_scale() -> None:
    SparseArguments(full_l1=0.1).check(100, zero_stage=2)
    with pytest.raises(InputError, match="cannot be used at ZeRO-3"):
        SparseArguments(full_l1=0.1).check(100, zero_stage=3)
    with pytest.raises(InputError, match="cannot be used with --fp16"):
        SparseArguments(sparse_l1=0.1).check(100, fp16=True)
