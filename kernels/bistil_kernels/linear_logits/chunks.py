"""Chunks of logits of the two linear heads: computed by cuBLAS, read by Triton kernels."""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from bistil_kernels.linear_logits.chunk_kernels import (
    STATE,
    accumulate_statistics,
    differentiate_chunk,
    finish_positions,
)
from bistil_kernels.linear_logits.chunk_shape import chunk_shape, processors
from bistil_kernels.linear_logits.products import multiply
from bistil_kernels.logits.online_kl import LEAST

READING = {"BLOCK": 2048, "num_warps": 8}
FINISHING = {"BLOCK": 1024, "num_warps": 8}
PROGRAMS = 4  # at least as many programs read logits on each multiprocessor, if there are enough blocks


def _slices(length: int, size: int) -> list[slice]:
    return [slice(first, min(first + size, length)) for first in range(0, length, size)]


def part(x: Tensor, rows: slice, columns: int | None = None) -> Tensor:
    """Return x[rows, :columns]; if that is all of `x`, return `x` itself, because slicing takes time."""
    if rows.start or rows.stop < len(x):
        x = x[rows]
    return x if columns is None or columns == x.shape[1] else x[:, :columns]


class VocabularyChunks:
    """Compute and process the logits of the n positions that count, chunk by chunk, in memory that chunks share."""

    def __init__(
        self, student: list[Any], teacher: list[Any], temperature: float, labels: Tensor | None, alpha_ce: float
    ) -> None:
        (self.hidden, self.weight, self.bias), (self.teacher_hidden, self.teacher_weight, self.teacher_bias) = (
            student,
            teacher,
        )
        self.labels = labels if alpha_ce else None
        self.n, V = len(self.hidden), len(self.weight)
        self.temperatures, self.alpha_ce = (temperature, 1.0 / temperature), alpha_ce
        available = processors(self.hidden.device)
        rows, columns = chunk_shape(self.n, V, available)
        self.rows, self.columns = _slices(self.n, rows), _slices(V, columns)
        # Each row starts at a multiple of 64 entries, and so of the 16 bytes of one read; short rows are left unpadded.
        self.stride = columns if columns <= 64 else triton.cdiv(columns, 64) * 64
        self.student, self.teacher = (self.hidden.new_empty(rows, self.stride, dtype=torch.float32) for _ in range(2))
        self.made: tuple[slice, slice] | None = None  # rows and columns of the chunk whose logits the buffers hold
        self.splits = min(triton.cdiv(PROGRAMS * available, rows), triton.cdiv(columns, READING["BLOCK"]))
        self.state = self.hidden.new_zeros(self.splits + 1, self.n, STATE.value, dtype=torch.float32)
        self.state[..., :3:2] = LEAST.value
        self.overall = self.state[-1]
        self.hard = self.labels is not None

    def _make(self, r: slice, c: slice) -> tuple[int, int]:
        """Compute the chunk's logits unless the buffers hold them already; return its numbers of rows and columns."""
        rows, columns = r.stop - r.start, c.stop - c.start
        if self.made != (r, c):
            student, teacher = (part(x, slice(0, rows), columns) for x in (self.student, self.teacher))
            multiply(part(self.hidden, r), part(self.weight, c).t(), student)
            multiply(part(self.teacher_hidden, r), part(self.teacher_weight, c).t(), teacher)
            self.made = r, c
        return rows, columns

    def _inputs(self, r: slice) -> tuple[Any, ...]:
        labels = None if self.labels is None else part(self.labels, r)
        return self.student, self.teacher, self.bias, self.teacher_bias, labels

    def accumulate(self, r: slice, c: slice) -> None:
        rows, columns = self._make(r, c)
        state = self.state[:, r.start :] if r.start else self.state
        sizes = self.n, columns, self.stride, c.start
        accumulate_statistics[(rows, self.splits)](
            *self._inputs(r), state, *sizes, *self.temperatures, HARD=self.hard, **READING
        )

    def finish(self, value: Tensor) -> None:
        numbers = self.n, self.splits, self.temperatures[0], self.alpha_ce
        finish_positions[(1,)](self.state, value, *numbers, HARD=self.hard, **FINISHING)

    def differentiate(self, r: slice, c: slice, gradient: Tensor) -> Tensor:
        """Write the gradient at the chunk's logits into the buffer `gradient`; return a view of it, [rows, columns].

        The buffer has the shape of the buffers of logits: as many rows as the largest chunk, of `stride` entries each.
        """
        rows, columns = self._make(r, c)
        differentiate_chunk[(rows, -(-columns // READING["BLOCK"]))](
            *self._inputs(r),
            part(self.overall, r),
            gradient,
            columns,
            self.stride,
            c.start,
            *self.temperatures,
            self.alpha_ce,
            HARD=self.hard,
            **READING,
        )
        return part(gradient, slice(0, rows), columns)
