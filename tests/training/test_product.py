"""Test that a run whose result does not load ends with one line and exit code 1, also on ranks other than 0."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bistil_ds.console import cli
from bistil_ds.distillation import run as distillation_run
from bistil_ds.errors import InputError, ProductError
from bistil_ds.training.product import check_product
from bistil_ds.tuning import run as tuning_run


def fails(folder: Path) -> None:
    raise InputError(f"{folder / 'model.safetensors'}: no such file")


def test_one_line_and_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(lambda: check_product(tmp_path, fails)) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}: training is over, but its result does not load: ")
    assert error.count("\n") == 1
    assert cli.run(lambda: check_product(tmp_path, lambda folder: None)) == 0


def test_what_a_kill_left_half_written_goes_once_the_product_is_whole(tmp_path: Path) -> None:
    for name in (".tmpAb12cD", ".tmp-notes", "tmpAb12cD"):
        (tmp_path / name).touch()
    with pytest.raises(ProductError):
        check_product(tmp_path, fails)
    assert len(list(tmp_path.iterdir())) == 3
    check_product(tmp_path, lambda folder: None)
    assert {path.name for path in tmp_path.iterdir()} == {".tmp-notes", "tmpAb12cD"}


def test_the_other_ranks_hear_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("bistil_ds.distributed.startup.from_rank_0", lambda mine: "no student")
    with pytest.raises(ProductError, match="no student"):
        check_product(tmp_path, lambda folder: None)


class LosesItsResult:
    """Stand-in for a trainer of either phase that ends well and saves nothing."""

    args = SimpleNamespace(device=torch.device("cpu"))

    def train(self, **kwargs: Any) -> LosesItsResult:
        return self

    def save_model(self, folder: str) -> None:
        """Save nothing."""

    save = save_model


@pytest.mark.parametrize("phase", [distillation_run, tuning_run])
def test_a_phase_that_saved_nothing_does_not_end_well(
    phase: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phase, "make_trainer", lambda *of: LosesItsResult())
    request = SimpleNamespace(task=SimpleNamespace(metric="f1"))
    with pytest.raises(ProductError, match="its result does not load"):
        phase.train(SimpleNamespace(folder=tmp_path, request=request, checkpoint=None, resume=None))
