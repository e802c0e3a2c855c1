"""A family of inputs: how they are made, and what reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies as st

from fuzz.case import Case


@dataclass(frozen=True)
class Family:
    """A family of inputs.

    Args:
        name: what records call it.
        share: of all inputs of a long run.
        make: draws an input: its files and what is told beside them.
        run: reads an input that lies in a folder. It returns for an input that is accepted and read rightly, and raises
            InputError for one that is refused; anything else that it raises is a finding.
        lines: the modules whose lines its inputs are to reach, as paths below the package.
    """

    name: str
    share: float
    make: Callable[[Random], tuple[dict[str, bytes], dict[str, Any]]]
    run: Callable[[Path, Mapping[str, Any]], None]
    lines: tuple[str, ...] = field(default=())

    def cases(self) -> st.SearchStrategy[Case]:
        """Return the strategy of the inputs: one in sixteen has arbitrary bytes in place of a file's content."""
        return st.integers(0, 2**64 - 1).flatmap(self._cases_of)

    def _cases_of(self, seed: int) -> st.SearchStrategy[Case]:
        case = self.case(seed)
        return st.binary(max_size=200).map(partial(_with_bytes, case)) if seed % 16 == 7 else st.just(case)

    def case(self, seed: int) -> Case:
        """Return the input of a seed."""
        return Case(self.name, *self.make(Random(f"{self.name} {seed}")))


def _with_bytes(case: Case, content: bytes) -> Case:
    name = sorted(case.files)[len(content) % len(case.files)] if case.files else None
    return Case(case.family, {**case.files, name: content} if name else {}, case.about)
