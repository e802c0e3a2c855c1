"""Test that one rank decides and that every rank acts on it, on a bad answer too."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from bistil_ds.distributed import agreement, startup
from bistil_ds.distributed.agreement import ask_rank_0, failing_together
from bistil_ds.errors import InputError, OtherRankError


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stand in for the exchange: rank 0 appends what it sends, other ranks receive it in order."""
    messages: list[Any] = []

    def exchange(value: Any) -> Any:
        if startup.rank() == 0:
            messages.append(value)
            return value
        return messages.pop(0)

    monkeypatch.setattr(startup, "from_rank_0", exchange)
    monkeypatch.setattr(agreement, "first_complaint", exchange)
    return messages


def fail_with(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def never() -> None:
    raise AssertionError("only rank 0 is asked")


@pytest.mark.parametrize("value", [None, 0, False, "found"])
def test_every_rank_gets_rank_0s_answer(sent: list[Any], monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setattr(startup, "rank", lambda: 0)
    assert ask_rank_0(lambda: value) is value
    monkeypatch.setattr(startup, "rank", lambda: 1)
    assert ask_rank_0(never) is value
    assert sent == []


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (InputError("checkpoint-5: damaged"), InputError, "checkpoint-5: damaged"),
        (OSError(errno.ENOSPC, "No space"), OtherRankError, "rank 0: OSError: [Errno 28] No space"),
        (ValueError("two\nlines"), OtherRankError, "rank 0: ValueError: two lines"),
    ],
)
def test_every_rank_raises_where_rank_0_does(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception], words: str
) -> None:
    monkeypatch.setattr(startup, "rank", lambda: 0)
    with pytest.raises(type(error)) as own:
        ask_rank_0(fail_with(error))
    assert own.value is error
    monkeypatch.setattr(startup, "rank", lambda: 1)
    with pytest.raises(kind) as told:
        ask_rank_0(never)
    assert str(told.value) == words


def test_nobody_raises_where_nobody_fails() -> None:
    with failing_together():
        pass
