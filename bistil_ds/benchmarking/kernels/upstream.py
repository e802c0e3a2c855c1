"""Measure how much time a loss saves if forward knows the gradient that its values will get in backward.

Each round runs forward and backward of the mean over P layer pairs three times: once with `upstream=1/P`, and twice
without it. The ratio of the last two times shows the noise. Seconds are CPU seconds of the process, which other
programs hardly disturb.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import torch
from bistil_kernels import attention_map_loss, hidden_state_loss
from torch import Tensor

from bistil_ds.benchmarking.harness.benchmark import Content, Job, Tell
from bistil_ds.benchmarking.harness.command import explain, require_at_least_1
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.benchmarking.harness.samples import ratio
from bistil_ds.benchmarking.harness.timing import Way, time_in_turns
from bistil_ds.benchmarking.models.rows import ratio_text
from bistil_ds.console.grid import Grid

STATES, MAPS = 7, 6  # pairs of hidden states and of attention maps, for mBERT and a student of every second layer
WAYS = ("told", "not told", "not told again")  # whether forward knows the upstream gradient; the last is the control
Step = Callable[[bool], object]


@dataclass
class Flags:
    """Flags of the benchmark of upstream gradients."""

    rounds: int = field(default=40, metadata=explain("Rounds that count; each runs every way once."))
    threads: int = field(default=1, metadata=explain("Threads of a product."))
    quick: bool = field(default=False, metadata=explain("One small case a loss."))
    output_dir: str = field(default=str(RESULTS), metadata=explain("Where the JSON goes."))


@dataclass(frozen=True)
class UpstreamCase:
    """One loss at one shape: states [batch, tokens, width], or queries and keys [batch, heads, tokens, head width]."""

    loss: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    def step(self) -> Step:
        """Draw inputs and return a function of forward and backward.

        Its argument says whether forward is told the upstream gradient.
        """
        torch.manual_seed(0)
        pairs = STATES if len(self.shape) == 3 else MAPS

        def draw(count: int, trained: bool) -> list[Tensor]:
            return [torch.randn(self.shape, dtype=self.dtype, requires_grad=trained) for _ in range(count)]

        if len(self.shape) == 3:
            student, teacher = draw(pairs, True), draw(pairs, False)

            def values(upstream: float) -> Tensor:
                return hidden_state_loss(student, teacher, None, kind=self.loss, upstream=upstream)
        else:
            student, others = draw(2 * pairs, True), draw(2 * pairs, False)
            ours, theirs = (list(zip(x[::2], x[1::2])) for x in (student, others))

            def values(upstream: float) -> Tensor:
                return attention_map_loss(ours, theirs, None, upstream=upstream)

        return lambda told: torch.autograd.grad(values(1 / pairs if told else 1.0).mean(), student)


def cases(quick: bool) -> list[UpstreamCase]:
    """Return the losses at shapes of training; with `quick`, two losses at a small shape each."""
    fp32, bf16 = torch.float32, torch.bfloat16
    if quick:
        return [UpstreamCase("mse", fp32, (2, 32, 64)), UpstreamCase("attention", fp32, (2, 2, 32, 16))]
    states = [("mse", fp32, (8, 256, 768)), ("mse", fp32, (8, 128, 768)), ("mse", fp32, (8, 128, 384))]
    states += [("mse", bf16, (8, 256, 768)), ("cosine", fp32, (8, 256, 768))]
    maps = [("attention", fp32, (8, 12, 128, 64)), ("attention", fp32, (8, 12, 256, 64))]
    return [UpstreamCase(*each) for each in (*states, *maps)]


def plan(flags: Flags) -> Job:
    """Check the flags and plan every case on the CPU."""
    require_at_least_1(flags, "rounds", "threads")
    planned, device = cases(flags.quick), torch.device("cpu")

    def measure(result: ResultFile, tell: Tell) -> None:
        torch.set_num_threads(flags.threads)
        for number, case in enumerate(planned):
            tell(number / len(planned), f"{case.loss}, {list(case.shape)}")
            about = {**asdict(case), "dtype": str(case.dtype).removeprefix("torch.")}
            step = case.step()
            ways = {name: Way(partial(step, name == "told")) for name in WAYS}
            seconds = time_in_turns(ways, flags.rounds, device, clock=cpu_seconds)
            result.content["rows"].append({**about, "cpu_seconds": seconds})
            result.save()

    return Job(device, measure, seeds={"torch": 0})


def cpu_seconds(step: Callable[[], object], device: torch.device) -> float:
    """Return the processor time of one call, in seconds."""
    start = time.process_time()
    step()
    return time.process_time() - start


def upstream_grids(content: Content) -> list[Grid]:
    """Return a table with one line for each case: milliseconds, and ratios within a round with 95 % intervals."""
    columns = ["loss, dtype, shape", "rounds", "told, ms", "not told / told (95 %)", "the same twice (95 %)"]
    grid = Grid("Upstream gradient known beforehand", columns)
    for row in content["rows"]:
        told, plain, again = (row["cpu_seconds"][name] for name in WAYS)
        ratios = [_ratio(plain, told), _ratio(again, plain)]
        name = f"{row['loss']}, {row['dtype']}, {'×'.join(map(str, row['shape']))}"
        grid.rows.append([name, str(len(told)), f"{statistics.median(told) * 1e3:.2f}", *ratios])
    grid.note = f"CPU seconds of forward and backward; {STATES} pairs of states or {MAPS} of maps"
    return [grid]


def _ratio(above: Sequence[float], below: Sequence[float]) -> str:
    return ratio_text(vars(ratio([[x] for x in above], [[x] for x in below])))
