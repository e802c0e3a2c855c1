"""Test that reading DeepSpeed's files runs no code from them, and that what DeepSpeed itself writes can be read."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.utils.tensor_fragment import fragment_address

from bistil_ds.distributed.weights_only import FORCE, weights_only, weights_only_is_enough
from bistil_ds.errors import InputError
from bistil_ds.runs import checkpoints
from bistil_ds.runs.seals import Seals

SEALS = Seals()


class Code:
    """Object whose pickle makes a folder when it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def states() -> dict[str, Any]:
    """Return values of every type that DeepSpeed's shards hold."""
    dynamic = DynamicLossScaler(8, 2.0, 2, 1, 1, False, dtype=torch.float16)
    return {
        "stage": ZeroStageEnum.gradients,
        "scalers": [LossScaler(scale=1), dynamic],
        "address": fragment_address(numel=3, start=1),
        "exp_avg": torch.ones(3),
    }


def checkpoint(run: Path, seals: Seals, **content: Any) -> Path:
    folder = run / "checkpoint-5"
    (folder / "global_step5").mkdir(parents=True)
    torch.save({**states(), **content}, folder / "global_step5" / "mp_rank_00_optim_states.pt")
    (folder / "latest").write_text("global_step5")
    checkpoints.seal(folder, 1, seals)
    return folder


def test_what_deepspeed_writes_is_read(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, SEALS)
    with weights_only():
        found = torch.load(folder / "global_step5" / "mp_rank_00_optim_states.pt", weights_only=False)
    assert found["address"] == fragment_address(numel=3, start=1)
    assert found["stage"] is ZeroStageEnum.gradients
    assert [vars(one) for one in found["scalers"]] == [vars(one) for one in states()["scalers"]]
    assert weights_only_is_enough(folder, SEALS)


def test_code_in_a_file_is_not_run_where_deepspeed_asks_for_full_unpickling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FORCE, raising=False)
    folder = checkpoint(tmp_path, SEALS, code=Code(tmp_path / "ran"))
    path = folder / "global_step5" / "mp_rank_00_optim_states.pt"
    with pytest.raises(pickle.UnpicklingError), weights_only():
        torch.load(path, weights_only=False)
    assert not (tmp_path / "ran").exists()
    assert FORCE not in os.environ
    torch.load(path, weights_only=False)
    assert (tmp_path / "ran").exists()  # so the file would have done it


@pytest.mark.parametrize("trust", [False, True])
def test_a_strangers_file_with_code_is_refused_even_where_it_is_trusted(tmp_path: Path, trust: bool) -> None:
    (tmp_path / "key").write_text("the key of a stranger")
    (tmp_path / "key").chmod(0o600)
    folder = checkpoint(tmp_path, Seals(str(tmp_path / "key")), code=Code(tmp_path / "ran"))
    with pytest.raises(InputError, match=r"optim_states\.pt: wants to run (posix|nt)\.mkdir when it is read"):
        weights_only_is_enough(folder, Seals(trust=trust))
    assert not (tmp_path / "ran").exists()


def test_the_users_own_file_may_hold_what_only_full_unpickling_reads(tmp_path: Path) -> None:
    assert not weights_only_is_enough(checkpoint(tmp_path, SEALS, code=Code(tmp_path / "ran")), SEALS)


def test_a_strangers_file_that_is_no_archive_of_torch_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, SEALS)
    (folder / "global_step5" / "zero.pt").write_bytes(pickle.dumps(Code(tmp_path / "ran")))
    (tmp_path / "key").write_text("the key of a stranger")
    (tmp_path / "key").chmod(0o600)
    checkpoints.seal(folder, 1, Seals(str(tmp_path / "key")))
    with pytest.raises(InputError, match=r"zero\.pt: wants to run code when it is read"):
        weights_only_is_enough(folder, Seals(trust=True))
