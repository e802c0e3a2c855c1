"""Test the bytes under ZeRO against counts by hand and a real run; times appear only when the user states rates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from benchmarks.scaling import main
from bistil_ds.benchmarking.scaling.activations import saved_bytes
from bistil_ds.benchmarking.scaling.collectives import SentBytes
from bistil_ds.benchmarking.scaling.compute import Speed, parameters_of, scaling_grids, scaling_rows
from bistil_ds.benchmarking.scaling.live_bytes import LiveBytes
from bistil_ds.benchmarking.scaling.zero_check import check
from bistil_ds.benchmarking.scaling.zero_memory import GROUP, LIVE, MODES, sent_bytes, state_bytes, teacher_bytes
from bistil_ds.distributed.startup import free_port

P = 1_000_000


def test_each_stage_partitions_more_than_the_one_before() -> None:
    held = [state_bytes(mode, P, 0, 64).most() for mode in ("0", "1", "2", "3")]
    assert held == sorted(held, reverse=True)
    assert held[0] == 20 * P
    assert held[1] == pytest.approx((4 + 14 / 64) * P)
    assert held[2] == pytest.approx((2 + 20 / 64) * P)
    assert held[3] == pytest.approx((2 + 16 / 64) * P)


def test_a_peak_is_in_backward_or_in_the_update() -> None:
    states = state_bytes("2", P, 1000, 2)
    assert (states.backward, states.update) == (9 * P + 4000, 12 * P)
    assert states.most(P) == 12 * P
    assert states.most(4 * P) == 13 * P + 4000


def test_stage_3_keeps_and_updates_no_more_than_deepspeed_does_at_once() -> None:
    large = 5 * LIVE
    states = state_bytes("3", large, 0, 2)
    assert states.backward == 8 * large + 2 * LIVE
    assert states.update == 8 * large + 6 * GROUP
    assert sent_bytes("3", large, 0, 2) == 2 * large + 4 * LIVE


def test_without_partners_nothing_is_saved_and_nothing_sent() -> None:
    assert [state_bytes(mode, P, 0, 1).most() / P for mode in ("0", "1", "2", "3")] == [20, 22, 22, 22]
    assert all(sent_bytes(mode, P, P, 1) == 0 for mode in MODES)
    assert teacher_bytes("3", P, 1000, 1) == 2 * P


def test_offload_moves_state_to_the_host() -> None:
    for stage in ("2", "3"):
        here, there = (state_bytes(mode, P, 1000, 8) for mode in (stage, f"{stage} offload"))
        assert there.most() < here.most()
        assert there.host > 16 * P
        assert here.host == 0


def test_a_partitioned_teacher_costs_bytes_to_send_and_saves_memory() -> None:
    assert sent_bytes("3", P, 2 * P, 2) == (2 * 2 * P + 2 * 2 * P) / 2
    assert sent_bytes("2", P, 2 * P, 2) == 3 * P
    assert sent_bytes("0", P, 2 * P, 2) == 2 * P
    assert teacher_bytes("3", P, 1000, 100) < teacher_bytes("2", P, 1000, 100) / 10


def test_rings_are_counted_where_torch_dispatches_collectives() -> None:
    store = dist.TCPStore("127.0.0.1", free_port(), 1, is_master=True)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        whole, share = torch.ones(8), torch.ones(8)
        with SentBytes(ranks=4) as counted:
            dist.all_reduce(whole)
            dist.all_gather_into_tensor(whole, share)
            dist.reduce_scatter_tensor(share, whole)
            torch.ones(3) + 1
    finally:
        dist.destroy_process_group()
    assert counted.by_name == {
        "allreduce_": 2 * 3 / 4 * 32,
        "_allgather_base_": 3 * 32,
        "_reduce_scatter_base_": 3 * 32,
    }
    assert counted.total == 48 + 96 + 96


def test_activations_grow_with_the_tokens_and_not_with_the_vocabulary() -> None:
    once, twice = (saved_bytes("mBERT k3 30k", "mBERT k1 30k", batch, 64) for batch in (1, 2))
    assert twice == pytest.approx(2 * once, rel=0.01)
    assert saved_bytes("mBERT k3 60k", "mBERT k1 60k", 1, 64) == once


def test_what_is_counted_as_saved_is_what_a_real_step_allocates() -> None:
    """Compare with a lower bound: each layer keeps at least its inputs to six matrices and both norms, in bf16."""
    tokens, width, layers = 64, 768, 4
    least = 2 * tokens * width * layers * (1 + 1 + 1 + 4 + 2)
    assert least < saved_bytes("mBERT k3 30k", "mBERT k1 30k", 1, tokens) < 6 * least


def test_the_largest_layer_is_the_embedding_of_a_small_model() -> None:
    model = nn.Sequential(nn.Embedding(100, 4), nn.Linear(4, 4))
    assert parameters_of(model) == (420, 400)


def test_rows_add_up_and_seconds_come_from_stated_rates_only() -> None:
    plain = scaling_rows("XLM-R-base", [1, 8], 1, 16)
    assert len(plain) == len(MODES) * 2
    for row in plain:
        most = max(row["backward"] + row["activations"], row["update"])
        assert row["device"] == most + row["teacher_bytes"]
        assert "seconds" not in row
    stated = scaling_rows("XLM-R-base", [8], 1, 16, Speed(1e12, 0.5, 1e9))[0]
    assert stated["seconds"] == pytest.approx(stated["flops"] / 5e11 + stated["sent"] / 1e9)
    titles = [grid.title for grid in scaling_grids({"rows": [stated]})]
    assert titles[0].startswith("GB on each GPU, XLM-R-base")
    assert "ASSUMED" in scaling_grids({"rows": [stated]})[-1].note


def test_the_check_states_its_error_or_why_there_is_none() -> None:
    row = {"stage": 2, "ranks": 2, "parameters": 3_200_000, "memory": 20.0, "memory_predicted": 15.0}
    row |= {"sent": 2.0, "sent_predicted": 3.0}
    missing = {"stage": 3, "ranks": 2, "unavailable": "no memory"}
    earlier = {**{key: value for key, value in row.items() if key != "parameters"}, "added_parameters": 3_200_000}
    (grid,) = scaling_grids({"rows": [row, missing, earlier]})
    assert grid.rows[2] == grid.rows[0]
    assert grid.rows[0] == ["2, 2, 3.2", "20.00", "15.00", "-25%", "2.00", "3.00", "+50%"]
    assert grid.rows[1] == ["3, 2: unavailable, no memory"]


def test_the_command_computes_without_a_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--output_dir", str(tmp_path), "--length", "32"]) == 0
    (path,) = tmp_path.glob("scaling-*.json")
    assert len(json.loads(path.read_text())["rows"]) == len(MODES) * 5
    assert "1024 GPUs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "expected"),
    [(["--gpus", "12"], "whole nodes"), (["--tflops", "900"], "--mfu None"), (["--batch", "0"], "at least 1")],
)
def test_bad_input_is_one_line(flags: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


def test_tensors_count_once_and_as_long_as_a_view_lives() -> None:
    before = torch.ones(1000)
    with LiveBytes() as live:
        live.add([before, before[:10]])
        made = torch.ones(500)
        view = made[:2]
        assert live.now == 6000
        del made
        assert live.now == 6000
        del view
        torch.ones(3000, device="meta") + 1
        assert live.now == 4000
        torch.ones(100) * 2
    assert live.peak == 6000


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_ranks_hold_and_send_what_is_computed(ranks: int) -> None:
    """Measure three sizes at each stage; the smallest has 3.6 million parameters, the largest 13.6 million."""
    for row in check(ranks, [(stage, width) for width in (256, 384, 512) for stage in range(4)]):
        assert row["memory"] == pytest.approx(row["memory_predicted"], rel=0.1), row
        assert row["sent"] == pytest.approx(row["sent_predicted"], rel=0.1), row
