"""Run one function on the same tensors again and again: on a GPU as a CUDA graph, on a CPU as the graph's twin.

A CUDA graph repeats recorded launches, and the host pays for one launch in place of hundreds. A replay reads and writes
the memory of the recorded run. So the function's inputs and results must stay in their places, and nothing in it may
wait for the device or depend on a value there. A twin keeps the results in their places too, so that a CPU can test
the code around a graph.

Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bistil_ds.errors import Notice

WARM_UP = 3  # runs before a recording, in which libraries choose kernels and allocate their memory
AGREEMENT = 1e-2  # largest relative difference between a replay's numbers and a plain run's; both round differently

Outputs = tuple[Tensor, ...]
Function = Callable[[], Outputs]


class Graph:
    """The launches of one run of a function, recorded on a CUDA stream; to record them runs none.

    `outputs` are the tensors that every `replay` fills.
    """

    def __init__(self, function: Function, stream: torch.cuda.Stream) -> None:
        self._graph = torch.cuda.CUDAGraph()
        # "thread_local": the loader's thread may pin memory meanwhile
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self.outputs = function()

    def replay(self) -> None:
        self._graph.replay()


class Twin:
    """What stands for a `Graph` on a CPU: runs the function, and copies its results to those of the first replay."""

    outputs: Outputs = ()

    def __init__(self, function: Function) -> None:
        self._function = function

    @torch.no_grad()
    def replay(self) -> None:
        with torch.enable_grad():
            found = self._function()
        self.outputs = self.outputs or found
        for kept, new in zip(self.outputs, found, strict=True):
            kept.copy_(new)


class Replayed:
    """A function that is run as it is at first, then recorded, and from then on replayed.

    If it cannot be recorded, or if the first replay's numbers are not those of a plain run, the function itself serves
    all further calls, and a `Notice` says why.

    Args:
        function: takes and returns tensors that stay in their places. With `compared`, one call runs it twice, so the
            second run must be as if there had been no first.
        device: where it runs.
        warm_up: number of plain runs before the recording.
        compared: how many of the first outputs, which must be scalars, are compared with those of a plain run.

    Attributes:
        is_replayed: whether the last call was a replay.
        failure: why the function is not replayed; None if nothing has failed.
    """

    is_replayed = False
    failure: str | None = None
    _recorded: Graph | Twin | None = None

    def __init__(self, function: Function, device: torch.device, *, warm_up: int = WARM_UP, compared: int = 0) -> None:
        self._function, self._left, self._compared = function, warm_up, compared
        self._devices = [device] if device.type == "cuda" else []  # that have random states beside the CPU's
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self) -> Outputs:
        """Run or replay the function and return its outputs, which the next call may overwrite."""
        if self._recorded is None:
            outputs = self._run()
            self._left -= 1
            if self._left == 0:
                self._record()
            return outputs
        if not self.is_replayed:
            return self._first_replay(self._recorded)
        self._recorded.replay()
        return self._recorded.outputs

    def _first_replay(self, recorded: Graph | Twin) -> Outputs:
        expected: list[Tensor] = []
        if self._compared:
            with torch.random.fork_rng(devices=self._devices):  # the replay draws the same random numbers
                expected = [x.clone() for x in self._run()[: self._compared]]
        recorded.replay()
        if not _agree(recorded.outputs[: self._compared], expected):
            self._give_up("the first replay's loss or gradient norm is not that of a plain run")
            return self._run()
        self.is_replayed = True
        return recorded.outputs

    def _run(self) -> Outputs:
        """Run the function, on a GPU on the stream on which it is recorded."""
        if self._stream is None:
            return self._function()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            outputs = self._function()
        torch.cuda.current_stream().wait_stream(self._stream)
        return outputs

    def _record(self) -> None:
        try:
            self._recorded = Twin(self._function) if self._stream is None else Graph(self._function, self._stream)
        except RuntimeError as error:
            cause = error.__context__ or error  # leaving a recording that has failed raises an error of its own
            if not isinstance(cause, RuntimeError):
                raise cause from None
            self._give_up(f"a step cannot be recorded: {str(cause).splitlines()[0]}")

    def _give_up(self, reason: str) -> None:
        self._recorded, self.failure = None, reason
        warnings.warn(f"--cuda_graphs: the run goes on without: {reason}", Notice, stacklevel=3)


def _agree(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    return all(
        torch.allclose(a, b, rtol=AGREEMENT, atol=0.0, equal_nan=True) for a, b in zip(found, expected, strict=True)
    )
