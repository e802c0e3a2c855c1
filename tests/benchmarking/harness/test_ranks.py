"""Test that a benchmark on several ranks ends as soon as one of them fails."""

from __future__ import annotations

import time

import pytest
from stand_ins.odd_ranks import WAIT, OneFails

from bistil_ds.benchmarking.harness import ranks
from bistil_ds.benchmarking.harness.own_process import RemoteError


def test_a_rank_that_fails_ends_those_that_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_Rank", OneFails)
    begun = time.monotonic()
    with pytest.raises(RemoteError, match="ValueError: out of memory on rank 1"):
        ranks.on_ranks(2, 1, print)
    assert time.monotonic() - begun < WAIT
