"""Test when a rank counts as lost, and which of several."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bistil_ds.distributed.verdict import FAILED, GONE, HANGS, LEFT, RUNS, WAITED, Peer, Verdict, judge

LIMIT = 100.0


def verdict(*peers: tuple[str, float, float], gone_after: float = 0.0) -> tuple[int, str] | None:
    """Judge at second 0 ranks of which each is given by its state, when it came into it, and when it was last heard."""
    made = [Peer(rank, "b", 1, heard, state, since, "words") for rank, (state, since, heard) in enumerate(peers)]
    found = judge(made, 0.0, LIMIT, gone_after)
    assert found is None or Verdict(**found.as_message()) == found
    return found and (found.rank, found.state)


FINE = (RUNS, -500.0, -1.0)


@pytest.mark.parametrize(
    ("peers", "expected"),
    [
        ([FINE, FINE], None),
        ([FINE, (RUNS, -500.0, -79.0)], None),
        ([FINE, (RUNS, -500.0, -81.0)], (1, HANGS)),
        ([FINE, (LEFT, -500.0, -400.0)], None),
        ([FINE, (GONE, 0.0, 0.0)], (1, GONE)),
        ([FINE, (FAILED, -1.0, 0.0)], None),  # the others may be about to raise the same error
        ([FINE, (FAILED, -3.0, 0.0)], (1, FAILED)),
        ([(WAITED, -9.0, 0.0), FINE], None),  # others may give up a little later
        ([(WAITED, -11.0, 0.0), FINE], (1, HANGS)),
        ([(WAITED, -11.0, 0.0), (WAITED, -2.0, 0.0), FINE], (2, HANGS)),
        ([(WAITED, -11.0, 0.0), (WAITED, -11.0, 0.0)], None),  # no rank is lost, but their network is
        ([(WAITED, -11.0, 0.0), (LEFT, -11.0, -50.0)], None),
    ],
)
def test_verdicts(peers: Sequence[tuple[str, float, float]], expected: tuple[int, str] | None) -> None:
    assert verdict(*peers) == expected


def test_while_rank_0_ends_its_preparation_a_dead_rank_ends_nothing() -> None:
    assert verdict(FINE, (GONE, -4.0, 0.0), gone_after=5.0) is None
    assert verdict(FINE, (GONE, -6.0, 0.0), gone_after=5.0) == (1, GONE)
