"""Measure one case: time and memory of every way, and the share of the device's rates that our way reaches."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bistil_ds.benchmarking.harness.timing import Way, paired_ratio, time_in_turns
from bistil_ds.benchmarking.kernels.case import COMPILED, EAGER, FUSED_ADAMW, OURS, KernelCall, KernelCase
from bistil_ds.benchmarking.kernels.clock import Clock, clocks, copy_bandwidth, poison, product_rate

ROUNDS = (5, 30)  # fewest and most rounds that count
SAMPLE = 20  # of each tensor, at most 2^SAMPLE evenly spread entries are compared
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 5e-3}  # largest difference that is "ok"


@dataclass
class Bench:
    """One device on which cases are measured; its copy bandwidth and matrix-product rates are measured first.

    The roofline of a case is the shortest time that these two rates allow (see `_shares`).

    Attributes:
        dtypes: the dtypes of all cases; the matrix-product rate is measured in each.
        compile: whether `torch.compile` of the eager way is measured too, if a case allows it.
        seconds: how long the rounds of a case should take with each clock; there are at least 5 and at most 30 rounds.
    """

    device: torch.device
    dtypes: tuple[torch.dtype, ...]
    compile: bool
    seconds: float

    def __post_init__(self) -> None:
        self.clock, self.device_clock = clocks(self.device)
        self.bandwidth = copy_bandwidth(self.device, self.device_clock)
        self.matmul = {dtype: product_rate(self.device, dtype, self.device_clock) for dtype in self.dtypes}

    def rates(self) -> dict[str, float]:
        """Return the device's rates for the record, in bytes and operations a second."""
        named = {f"matmul_{str(dtype).removeprefix('torch.')}": rate for dtype, rate in self.matmul.items()}
        return {"copy_bandwidth": self.bandwidth, **named}

    def measure(self, case: KernelCase) -> list[dict[str, Any]]:
        """Return one row for each way, ours first; `status` is "ok" or says why a way failed, differs or is missing."""
        try:
            return self._rows(case, self._ways(case))
        finally:
            self._free()

    def _ways(self, case: KernelCase) -> dict[str, KernelCall | str]:
        ways = dict(case.build())
        eager = ways[EAGER]
        if self.compile and case.compiles and isinstance(eager, KernelCall):
            torch.compiler.reset()  # cases share code, and torch silently stops compiling code it compiled too often
            ways[COMPILED] = KernelCall(torch.compile(eager.run, dynamic=False), eager.leaves)
        return ways

    def _first_call(self, name: str, way: KernelCall | str) -> list[Tensor] | str:
        """Fill free memory with NaN, then call a way once; return a sample of each tensor, or why there is none.

        A result is then NaN if it was computed from memory that no kernel had written.
        """
        if isinstance(way, str):
            return way
        poison(self.device)
        try:
            return [x.reshape(-1)[:: 1 + (x.numel() >> SAMPLE)].clone() for x in way()]
        except torch.OutOfMemoryError:
            reason = "out of memory"
        except Exception as error:  # other libraries may raise any error; one way must not end the whole run
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[: 2000 if name == OURS else 200]
        self._free()
        return reason

    def _free(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _rows(self, case: KernelCase, ways: Mapping[str, KernelCall | str]) -> list[dict[str, Any]]:
        found = {name: self._first_call(name, way) for name, way in ways.items()}
        status = {name: _agreement(case, name, found) for name in ways}
        alive = {n: w for n, w in ways.items() if isinstance(w, KernelCall) and not isinstance(found[n], str)}
        found.clear()
        peaks = {name: self._peak(way) for name, way in alive.items()}
        seconds = self._time(alive, self.clock)
        device_seconds = self._time(alive, self.device_clock) if self.device_clock is not self.clock else seconds
        rows = []
        for name in ways:
            row: dict[str, Any] = {"kernel": case.kernel, "size": case.size}
            row |= {"dtype": str(case.dtype).removeprefix("torch."), "way": name, "status": status[name]}
            if name in alive:
                row |= {"seconds": statistics.median(seconds[name])}
                row |= {"device_seconds": statistics.median(device_seconds[name])}
                row |= {"peak_bytes": peaks[name]}
                row |= {"gradient_bytes": sum(x.nbytes for x in alive[name].leaves)}
                if OURS in alive:
                    row["time_over_ours"] = paired_ratio(seconds[name], seconds[OURS])
                    row["device_time_over_ours"] = paired_ratio(device_seconds[name], device_seconds[OURS])
                row["samples"], row["device_samples"] = seconds[name], device_seconds[name]
            rows.append(row)
        if OURS in alive:
            rows[0] |= self._shares(case, rows[0]["device_seconds"])
            rows[0]["aims"] = "; ".join(self._verdicts(case, rows))
        return rows

    def _shares(self, case: KernelCase, seconds: float) -> dict[str, Any]:
        """Return the rates that our way reaches if it takes `seconds`, and their shares of the device's rates.

        The roofline is the shortest possible time: that of the bytes or that of the operations at the device's rates,
        whichever is longer.
        """
        by_bytes = (case.bytes_moved or 0) / self.bandwidth
        by_products = case.operations / self.matmul[case.dtype]
        found: dict[str, Any] = {"bytes_moved": case.bytes_moved, "bytes_model": case.bytes_model}
        found["operations"] = case.operations
        if case.bytes_moved:
            found["bytes_per_second"] = case.bytes_moved / seconds
            found["of_copy_bandwidth"] = by_bytes / seconds
        if case.operations:
            found["operations_per_second"] = case.operations / seconds
            found["of_matmul_rate"] = by_products / seconds
        if by_bytes or by_products:
            found["bound_by"] = "bytes" if by_bytes >= by_products else "products"
            found["of_roofline"] = max(by_bytes, by_products) / seconds
        return found

    def _verdicts(self, case: KernelCase, rows: list[dict[str, Any]]) -> list[str]:
        """Return a verdict on each aim. On a CPU there are none, because the aims are for a GPU."""
        if self.device.type != "cuda":
            return []
        ours, by_way = rows[0], {row["way"]: row for row in rows}
        eager_peak = by_way[EAGER].get("peak_bytes")
        reached = {"copy_bandwidth": ours.get("of_copy_bandwidth"), "roofline": ours.get("of_roofline")}
        reached["memory"] = ours["peak_bytes"] / eager_peak if eager_peak else None
        reached |= {name: row.get("time_over_ours") for name, row in by_way.items()}
        notes = {
            name: f" (the device alone {row['device_time_over_ours']:.3g})"
            for name, row in by_way.items()
            if "device_time_over_ours" in row
        }
        if eager_peak:
            notes["memory"] = f" (the returned gradients alone {ours['gradient_bytes'] / eager_peak:.3g})"
        return [aim.verdict(reached.get(aim.of)) + notes.get(aim.of, "") for aim in case.aims]

    def _peak(self, way: KernelCall) -> int | None:
        """Return the bytes that a call allocates at its peak beyond those allocated before it; None on a CPU."""
        if self.device.type != "cuda":
            return None
        torch.cuda.synchronize(self.device)
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        way()
        return torch.cuda.max_memory_allocated(self.device) - before

    def _time(self, ways: Mapping[str, Callable[[], object]], clock: Clock) -> dict[str, list[float]]:
        begun = time.perf_counter()
        for way in ways.values():  # warm up
            way()
            way()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        once = (time.perf_counter() - begun) / 2
        rounds = max(ROUNDS[0], min(ROUNDS[1], int(self.seconds / max(once, 1e-9))))
        return time_in_turns({name: Way(way) for name, way in ways.items()}, rounds, self.device, clock=clock)


def _agreement(case: KernelCase, name: str, found: Mapping[str, list[Tensor] | str]) -> str:
    """Return "ok", why the way has no result, "not finite", or by how much the way differs from ours.

    For each tensor, the largest difference from ours is divided by the way's largest entry; the worst tensor counts.
    """
    mine, ours = found[name], found[OURS]
    if isinstance(mine, str):
        return mine
    if not all(x.isfinite().all() for x in mine if x.is_floating_point()):
        return "not finite"
    if name in (OURS, FUSED_ADAMW) or not case.compared or isinstance(ours, str):
        return "ok"
    worst = 0.0
    for a, b in zip(mine, ours):
        scale = float(a.abs().max()) if a.numel() else 0.0
        worst = max(worst, float((a.double() - b.double()).abs().max()) / scale if scale else 0.0)
    return "ok" if worst <= TOLERANCE[case.dtype] else f"differs from ours by {worst:.1e}"
