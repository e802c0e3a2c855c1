"""Test the kernel benchmark: its counts, its rows for a peer that fails, and a quick run on a CPU."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from matplotlib.image import imread
from torch import Tensor

from benchmarks.kernels import main
from bistil_ds.benchmarking.kernels.case import EAGER, OURS, Aim, KernelCall, KernelCase
from bistil_ds.benchmarking.kernels.cases import cases
from bistil_ds.benchmarking.kernels.clock import EventClock, cached_bytes
from bistil_ds.benchmarking.kernels.files import draw, failures
from bistil_ds.benchmarking.kernels.rows import Bench
from bistil_ds.benchmarking.kernels.updates import touched

CPU = torch.device("cpu")
RECOMPILE_LIMIT = 8  # torch.compile's limit for the code of one function


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(CPU, (torch.float32,), compile=False, seconds=0.01)


def case(eager: Callable[[Tensor], Tensor]) -> KernelCase:
    x = torch.ones(1000, requires_grad=True)
    ways = {OURS: KernelCall(lambda: x.square().sum(), [x]), EAGER: KernelCall(lambda: eager(x), [x])}
    return KernelCase(
        "square", "1000", torch.float32, lambda: {**ways, "liger": "not installed"}, 8000.0, "8·n", 3000.0
    )


def test_a_row_has_times_rates_and_the_bytes_they_come_from(bench: Bench) -> None:
    ours, eager, liger = bench.measure(case(lambda x: (x * x).sum()))
    assert [row["way"] for row in (ours, eager, liger)] == [OURS, EAGER, "liger"]
    assert ours["status"] == eager["status"] == "ok"
    assert ours["bytes_per_second"] == pytest.approx(8000 / ours["device_seconds"])
    assert ours["of_roofline"] == max(ours["of_copy_bandwidth"], ours["of_matmul_rate"])
    assert ours["time_over_ours"] == 1
    assert eager["time_over_ours"] > 0
    assert liger["status"] == "not installed"
    assert "seconds" not in liger


def test_a_way_that_computes_something_else_is_found_out(bench: Bench) -> None:
    assert "differs from ours" in bench.measure(case(lambda x: (x * x).sum() * 1.01))[1]["status"]
    assert bench.measure(case(lambda x: (x / 0).sum()))[1]["status"] == "not finite"


def test_a_peer_out_of_memory_is_a_result(bench: Bench) -> None:
    def greedy(x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    ours, eager, _ = bench.measure(case(greedy))
    assert eager["status"] == "out of memory"
    assert "seconds" not in eager
    assert ours["seconds"] > 0


def test_a_kernel_of_ours_that_fails_does_not_end_the_run(bench: Bench) -> None:
    def broken() -> Tensor:
        raise RuntimeError("does not compile")

    working = case(lambda x: (x * x).sum())
    ways = {**working.build(), OURS: KernelCall(broken)}
    ours, eager, _ = bench.measure(replace(working, build=lambda: ways))
    assert ours["status"] == "RuntimeError: does not compile"
    assert eager["status"] == "ok"
    assert eager["seconds"] > 0
    assert "time_over_ours" not in eager


def test_every_case_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs, compiler = [], torch.compile

    def counting(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda run, dynamic: compiler(run, dynamic=dynamic, backend=counting))
    bench = Bench(CPU, (torch.float32,), compile=True, seconds=0.01)
    cases_of_one_code = [case(lambda x, n=n: (x * x).sum() + 0 * n) for n in range(2 + RECOMPILE_LIMIT)]
    for one in cases_of_one_code:
        assert bench.measure(one)[-1]["status"] == "ok"
    assert len(graphs) == len(cases_of_one_code)


@pytest.mark.parametrize("queue_full", [False, True])
def test_the_clock_starts_with_an_idle_or_a_busy_device(monkeypatch: pytest.MonkeyPatch, queue_full: bool) -> None:
    done: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            done.append("event")

        def elapsed_time(self, end: Event) -> float:
            return 2.0

    properties = SimpleNamespace(L2_cache_size=64)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: done.append("wait"))
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: done.append("sleep"))
    monkeypatch.setattr(torch.cuda, "Event", Event)

    @contextmanager
    def current(device: torch.device) -> Iterator[None]:
        done.append(f"on {device}")
        yield
        done.append("off")

    monkeypatch.setattr(torch.cuda, "device", current)
    clock = EventClock(CPU, queue_full)
    assert clock._flush.nbytes == 2 * properties.L2_cache_size
    assert clock(lambda: done.append("step"), CPU) == 0.002
    before = ["wait", "step", "wait", "sleep"] if queue_full else ["wait"]
    assert done == ["on cpu", *before, "event", "step", "event", "wait", "off"]  # else cuda:0 would be timed for cuda:1


@pytest.mark.parametrize(("hip", "expected"), [(None, 4 * 2**20), ("7.0", 256 * 2**20)])
def test_amds_second_cache_counts_too(hip: str | None, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(L2_cache_size=4 * 2**20)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.version, "hip", hip)
    assert cached_bytes(torch.device("cuda")) == expected


def test_aims_say_by_how_much_they_are_missed() -> None:
    assert Aim("copy_bandwidth", 0.85).verdict(0.8) == "copy_bandwidth >= 0.85: 0.8, missed"
    assert Aim("memory", 0.1, below=True).verdict(0.05) == "memory < 0.1: 0.05, met"
    assert Aim("liger", 1).verdict(None) == "liger >= 1: not measured"


def test_the_memory_aim_is_said_beside_what_the_gradients_alone_need() -> None:
    planned = replace(case(lambda x: x), aims=[Aim("memory", 0.1, below=True)])
    rows = [{"way": OURS, "peak_bytes": 30, "gradient_bytes": 20}, {"way": EAGER, "peak_bytes": 100}]
    verdicts = Bench._verdicts(SimpleNamespace(device=torch.device("cuda")), planned, rows)  # type: ignore[arg-type]
    assert verdicts == ["memory < 0.1: 0.3, missed (the returned gradients alone 0.2)"]


@pytest.mark.parametrize("size", [2, 4])
def test_touched_sectors_are_those_of_a_random_mask(size: int) -> None:
    torch.manual_seed(0)
    n, density = 1 << 20, 0.08
    sectors = (torch.rand(n) < density).view(-1, 32 // size).any(1).sum() * 32
    assert touched(n, density, size) == pytest.approx(float(sectors), rel=0.01)


def test_every_aim_of_the_benchmark_is_of_something_measured() -> None:
    for planned in cases(torch.device("cuda"), quick=False):
        for aim in planned.aims:
            assert aim.of in ("copy_bandwidth", "roofline", "memory", EAGER, "liger", "fused_adamw")
        if any(aim.of == "roofline" for aim in planned.aims):
            assert planned.bytes_moved or planned.operations


def test_a_run_that_ends_early_has_measured_every_kernel() -> None:
    device = torch.device("cuda")
    planned = cases(device, quick=False)
    kernels = {case.kernel for case in planned}
    assert {case.kernel for case in planned[: len(kernels)]} == kernels
    first = {case.kernel: case for case in reversed(planned)}
    assert all(first[case.kernel].aims for case in planned if case.aims), "cases with an aim come first"


def test_some_kernels_may_be_measured_alone(tmp_path: Path) -> None:
    words = ["--device", "cpu", "--quick", "--output_dir", str(tmp_path), "--only"]
    assert main([*words, "gather_at"]) == 0
    (path,) = tmp_path.glob("kernels-quick-cpu-*.json")
    assert {row["kernel"] for row in json.loads(path.read_text())["rows"]} == {"gather_at"}


def test_a_kernel_that_is_not_measured_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cpu", "--only", "gather", "--output_dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: --only gather: expected any of hidden_state_loss mse, ")


def test_the_picture_shows_our_share_of_the_roofline_and_the_others_time_over_ours() -> None:
    first = {"kernel": "a", "size": "1", "dtype": "float32"}
    rows = [
        {**first, "way": OURS, "seconds": 1.0, "of_roofline": 0.6, "time_over_ours": 1.0},
        {**first, "way": EAGER, "seconds": 2.5, "time_over_ours": 2.5},
        {**first, "way": "liger", "status": "not installed"},
        {**first, "size": "2", "way": OURS, "seconds": 1.0, "of_roofline": 0.3, "time_over_ours": 1.0},
    ]
    left, right = draw(rows, "Title").axes
    assert [bar.get_width() for bar in left.patches] == [60, 30]
    assert [label.get_text() for label in left.get_yticklabels()] == ["a, 1, float32", "a, 2, float32"]
    (eager,) = [line for line in right.lines if line.get_label() == EAGER]
    assert list(zip(*eager.get_data())) == [(2.5, 0)]


def test_a_kernel_of_ours_that_failed_is_named_and_a_peer_that_is_not_there_is_none() -> None:
    where = {"kernel": "a", "size": "1", "dtype": "float32"}
    broken = {**where, "way": OURS, "status": "does not compile"}
    assert failures({"rows": [broken, {**where, "way": "liger", "status": "not installed"}]}) == [
        "a, 1, float32: does not compile"
    ]


def test_a_quick_run_on_a_cpu_leaves_json_csv_and_a_picture(tmp_path: Path) -> None:
    script = Path(__file__).parents[3] / "benchmarks" / "kernels.py"
    command = [sys.executable, script, "--device", "cpu", "--quick", "--output_dir", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "PyTorch references" in done.stdout
    (path,) = tmp_path.glob("kernels-quick-cpu-*.json")
    record = json.loads(path.read_text())
    assert record["rates"]["copy_bandwidth"] > 0
    kernels = {row["kernel"].split()[0] for row in record["rows"]}
    assert kernels == {"hidden_state_loss", "attention_map_loss", "distillation_kl", "linear_distillation_kl"} | {
        "SparseAdamW", "gather_at", "swap_in", "top_k_delta"
    }  # fmt: skip
    assert all(row["status"] == "ok" for row in record["rows"] if row["way"] != "liger")
    with path.with_suffix(".csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(record["rows"])
    assert imread(path.with_suffix(".png")).std() > 0  # the picture can be read and is not blank
