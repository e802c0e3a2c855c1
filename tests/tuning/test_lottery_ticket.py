"""Test the two stages without DeepSpeed: selection, reset, iterations, controls."""

from __future__ import annotations

import weakref
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sparse_material as material
import torch
from sparse_material import lottery, moved, same
from torch import Tensor

from bistil_ds.errors import InputError
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sparse.maskable import maskable_parameters
from bistil_ds.sparse.selection import read_selection
from bistil_ds.tuning.lottery_ticket import Stage


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
    trainer = lottery(base, out, probe=probe, training=best)
    sft = trainer.train()
    assert seen["full"] is None
    assert seen["sparse"].endswith("checkpoint-2")
    assert same(sft, seen["sft"])
    model = material.load(base)
    sft.apply(model)
    assert all(p.equal(seen["weights"][n]) for n, p in model.named_parameters())


def test_random_entries_need_no_full_stage_and_are_the_seeds(base: Path, tmp_path: Path) -> None:
    runs = [lottery(base, tmp_path / str(n), selection="random", k=400).train() for n in range(2)]
    other = lottery(base, tmp_path / "other", selection="random", k=400, training={"seed": 4}).train()
    assert not list(tmp_path.glob("*/*full"))
    assert moved(runs[0]) == 400
    assert same(*runs)
    assert not all(other.sparse[n].indices_K.equal(d.indices_K) for n, d in runs[0].sparse.items() if n in other.sparse)


def test_what_a_kill_left_of_a_result_is_not_in_the_result(base: Path, tmp_path: Path) -> None:
    trainer = lottery(base, tmp_path / "out", selection="random", k=400)
    left = trainer.stages[0].result / ".tmpAb12cD"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    trainer.train(resume=True)
    assert left.parent.is_dir()
    assert not left.exists()


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
