"""Test that one rank decides and that every rank acts on it, on a bad answer too."""

from __future__ import annotations

from typing import Any

import pytest

from bistil_ds.distributed import startup
from bistil_ds.distributed.agreement import ask_rank_0
from bistil_ds.errors import InputError


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stand in for the broadcast: rank 0 appends what it sends, other ranks receive the last of the list."""
    messages: list[Any] = []

    def from_rank_0(value: Any) -> Any:
        messages.extend([value] if value is not None else [])
        return messages[-1]

    monkeypatch.setattr(startup, "from_rank_0", from_rank_0)
    return messages


def refuse() -> None:
    raise InputError("checkpoint-5: damaged")


def never() -> None:
    raise AssertionError("only rank 0 is asked")


@pytest.mark.parametrize("value", [None, 0, False, "found"])
def test_every_rank_gets_rank_0s_answer(sent: list[Any], monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setattr(startup, "rank", lambda: 0)
    assert ask_rank_0(lambda: value) is value
    monkeypatch.setattr(startup, "rank", lambda: 1)
    assert ask_rank_0(never) is value


def test_every_rank_raises_what_rank_0_raised(sent: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for rank, function in ((0, refuse), (1, never)):
        monkeypatch.setattr(startup, "rank", lambda rank=rank: rank)
        with pytest.raises(InputError, match="checkpoint-5: damaged"):
            ask_rank_0(function)
