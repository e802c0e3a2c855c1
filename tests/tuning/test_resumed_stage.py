"""Test that a resumed stage hashes the checkpoint that it goes on from once."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest
import sparse_material as material

from bistil_ds.tuning.lottery_ticket import LotteryTicketTrainer


def tuning(base: Path, folder: Path) -> LotteryTicketTrainer:
    sparse = material.sparse(selection="random", sparse_max_steps=4, k=50)
    return LotteryTicketTrainer(
        lambda: material.load(base), material.factory(), material.arguments(folder), sparse, base
    )


def test_a_checkpoint_is_hashed_once(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LotteryTicketTrainer, "_finish", killed)
        with pytest.raises(KeyboardInterrupt):
            tuning(base, tmp_path).train()
    read, digest = Counter[str](), hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: read.update([file.name]) or digest(file, name))
    tuning(base, tmp_path).train(resume=True)
    found = {Path(path).name: count for path, count in read.items() if "/checkpoint-4/" in path}
    assert found.pop("sft.safetensors") > 1  # an SFT has a hash of its own, which is compared when it is loaded
    assert "optimizer.pt" in found
    assert set(found.values()) == {1}
