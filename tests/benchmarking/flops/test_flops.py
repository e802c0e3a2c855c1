"""Test the FLOP counts: whole steps against products worked out by hand, our kernels against plain PyTorch's counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from bistil_kernels.flops import formulas
from bistil_kernels.hidden_state.flops import hidden_state
from student_models import KINDS, tiny_config
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, flop_registry
from transformers import AutoModel, AutoModelForMaskedLM

from benchmarks.flops import main
from bistil_ds.benchmarking.flops.count import META, flop_counter, flops_grids, forward_flops, shape_of, step_flops
from bistil_ds.errors import InputError
from bistil_ds.training.speed import encoder_flops, training_flops

B, H, T, D = 2, 3, 10, 8


def on_meta(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


@pytest.mark.parametrize("name", ["mBERT", "XLM-R-base k3 30k"])
def test_a_forward_pass_counts_what_the_layers_multiply(name: str) -> None:
    model = shape_of(name)
    counted = forward_flops(model, batch=2, length=64)["total"]
    assert counted == 2 * 64 * encoder_flops(model.config, 64, model.config.num_hidden_layers)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "deberta-v2"])
@pytest.mark.parametrize("auto", [AutoModelForMaskedLM, AutoModel])
def test_every_family_is_counted_with_a_head_and_without(kind: str, auto: type) -> None:
    grouped = {"num_key_value_heads": 2} if kind == "eurobert" else {}
    with META:
        model = auto.from_config(tiny_config(kind, layers=2, **grouped))
    model.base_model.pooler = None  # as the benchmarks load it
    counted = forward_flops(model, batch=2, length=16)["total"]
    # the lowest transformers multiplies the angles of rotary positions as matrices
    assert counted == pytest.approx(2 * 16 * encoder_flops(model.config, 16, 2), rel=2.5e-4)


def test_a_forward_pass_that_needs_values_is_refused() -> None:
    with META:
        model = AutoModel.from_config(tiny_config("deberta-v2", layers=1))
    with pytest.raises(InputError, match="operations of deberta-v2 models cannot be counted without their weights"):
        forward_flops(model, 1, 8)


def test_a_student_of_half_the_layers_does_half_the_work_whatever_its_vocabulary() -> None:
    whole, half = (forward_flops(shape_of(name), 1, 32)["total"] for name in ("mBERT", "mBERT k2 60k"))
    assert half * 2 == whole


def test_the_floor_of_a_step_is_the_teacher_and_three_times_the_student() -> None:
    student, teacher = shape_of("mBERT k2 30k"), shape_of("mBERT")
    found = step_flops(student, teacher, batch=2, length=64)
    assert found is not None
    assert found["floor"] == pytest.approx(2 * 64 * training_flops(student, teacher, 64), rel=0.02)
    # scores of one layer's map; each of the six pairs has two maps and two gradients
    scores = 2 * 2 * 12 * 64 * 64 * 64
    assert found["ours"] - found["floor"] == 6 * 4 * scores


def test_models_of_other_kinds_have_no_phase_1_step() -> None:
    assert step_flops(shape_of("DistilmBERT"), shape_of("mBERT"), 1, 8) is None
    assert step_flops(shape_of("mBERT"), shape_of("mBERT"), 1, 8) is None


@pytest.mark.skipif(not formulas(), reason="no Triton, so none of our operators")
class TestOperators:
    """Tests of single operators on the meta device, where nothing but the FLOP formula of each counts."""

    @pytest.mark.parametrize("with_gradient", [False, True])
    def test_attention_maps_count_their_scores_and_the_queries_gradient(self, with_gradient: bool) -> None:
        pairs = [[on_meta(B, H, T, d)] * 2 for d in (D, D, 2 * D, 2 * D)]
        with flop_counter() as counter:
            torch.ops.bistil_kernels.attention_map(*pairs, None, [T, T], False, True, 1.0, with_gradient)
        q, wide, map_ = on_meta(B * H, T, D), on_meta(B * H, T, 2 * D), on_meta(B * H, T, T)
        with FlopCounterMode(display=False) as plain:
            for _ in range(2):
                q @ q.mT
                wide @ wide.mT
                if with_gradient:
                    map_ @ q
        assert counter.get_total_flops() == plain.get_total_flops() > 0

    def test_attention_gradients_of_keys_count_scores_again_and_a_product(self) -> None:
        pairs = [[on_meta(B, H, T, d)] for d in (D, D, 2 * D, 2 * D)]
        stops, stats, one = on_meta(0), [on_meta(3, B, H, T)], on_meta(1)
        with flop_counter() as counter:
            torch.ops.bistil_kernels.attention_map_backward(*pairs, None, [T], stops, stats, one, one, False, True)
        q, wide, map_ = on_meta(B * H, T, D), on_meta(B * H, T, 2 * D), on_meta(B * H, T, T)
        with FlopCounterMode(display=False) as plain:
            q @ q.mT
            wide @ wide.mT
            map_.mT @ q
        assert counter.get_total_flops() == plain.get_total_flops() > 0

    @pytest.mark.parametrize("window", [0, 3, T - 1])
    def test_attention_maps_count_what_the_window_leaves(self, window: int) -> None:
        pairs = [[on_meta(B, heads, T, D)] for heads in (H, 1, H, H)]
        stops, stats, one = on_meta(0), [on_meta(3, B, H, T)], on_meta(1)
        with flop_counter() as counter:
            torch.ops.bistil_kernels.attention_map(*pairs, None, [window], False, True, 1.0, True)
            torch.ops.bistil_kernels.attention_map_backward(*pairs, None, [window], stops, stats, one, one, False, True)
        seen = sum(abs(i - j) <= window for i in range(T) for j in range(T))
        assert counter.get_total_flops() == 6 * 2 * B * H * D * seen

    @pytest.mark.parametrize(("wanted", "products"), [([False] * 3, 1), ([True, False, False], 2), ([True] * 3, 3)])
    def test_vocabulary_logits_count_products_of_student_and_teacher(self, wanted: list[bool], products: int) -> None:
        N, V = 7, 50
        tensors = [on_meta(N, D), on_meta(V, D), None, on_meta(N, 2 * D), on_meta(V, 2 * D), None]
        with flop_counter() as counter:
            torch.ops.bistil_kernels.linear_distillation_kl(*tensors, 1.0, None, 0.0, -100, wanted)
        assert counter.get_total_flops() == products * 2 * N * D * V + 2 * N * 2 * D * V

    def test_hidden_states_count_their_projections_only(self) -> None:
        shapes = [(B, T, D)], [(B, T, 2 * D)], None
        assert hidden_state(*shapes, [(2 * D, D)], "mse") == 2 * B * T * 2 * D * D
        assert hidden_state(*shapes, None, "mse") == 0

    def test_every_operator_of_ours_has_a_formula(self) -> None:
        known = {str(op).rpartition(".")[2] for op in formulas()}
        ours = {name for name in torch._C._dispatch_get_all_op_names() if name.startswith("bistil_kernels::")}
        assert {name.removeprefix("bistil_kernels::").partition(".")[0] for name in ours} == known

    def test_nothing_is_registered_for_everybody(self) -> None:
        flop_counter()
        assert not any("bistil" in str(op) for op in flop_registry)


def test_the_command_compares_students_with_their_mmt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--output_dir", str(tmp_path), "--length", "32"]) == 0
    (path,) = tmp_path.glob("flops-*.json")
    rows = json.loads(path.read_text())["rows"]
    assert [row["model"] for row in rows] == ["mBERT", "mBERT k2 30k"]
    assert "0.500" in capsys.readouterr().out


def test_each_table_has_the_rows_of_its_own_case() -> None:
    def row(model: str, length: int, total: int) -> dict[str, Any]:
        return {"model": model, "reference": "a", "batch": 1, "length": length, "forward": {"total": total}}

    rows = [row("a", 32, 10), row("b", 32, 5), row("a", 64, 40), row("b", 64, 10), row("c", 64, 20)]
    grids = flops_grids({"rows": rows})
    assert [grid.title for grid in grids] == ["Operations, length 32", "Operations, length 64"]
    shares = [{cells[0]: cells[3] for cells in grid.rows} for grid in grids]
    assert shares == [{"a": "1.000", "b": "0.500"}, {"a": "1.000", "b": "0.250", "c": "0.500"}]
