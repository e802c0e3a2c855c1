"""Test what the one kind of progress bar draws, and that a hidden one draws nothing."""

from __future__ import annotations

import pytest

from bistil_ds.console.progress import progress_bar, share_bar


def test_a_bar_says_what_is_done_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tqdm.std.time", lambda: 0.0)  # however long the steps take
    assert list(progress_bar([1, 2], "reading")) == [1, 2]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("reading: 100%") == 1
    assert list(progress_bar([1, 2], "reading", show=False)) == [1, 2]
    assert capsys.readouterr() == ("", "")


def test_shares_move_a_bar_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with share_bar() as move:
        move(0.25, "round 1")
        move(0.5, "round 2")
    shown = capsys.readouterr().err
    assert shown.index("round 1:  25%") < shown.index("round 2:  50%") < shown.index("100%")
    with share_bar(show=False) as move:
        move(0.25, "round 1")
    assert capsys.readouterr().err == ""


def test_an_error_in_the_block_leaves_the_bar_where_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with share_bar() as move:
            move(0.25, "round 1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert "100%" not in capsys.readouterr().err
