"""Test that a checkpoint of DeepSpeed is converted for another number of ranks, once, and sealed again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bistil_ds.distributed import universal
from bistil_ds.errors import InputError
from bistil_ds.runs import checkpoints
from bistil_ds.runs.seals import Seals, write_seal

SEALS = Seals()


def checkpoint(run: Path, step: int) -> Path:
    folder = run / f"checkpoint-{step}"
    (folder / "global_step").mkdir(parents=True)
    torch.save({"step": step}, folder / "global_step" / "optim_states.pt")
    checkpoints.seal(folder, 2, SEALS)
    return folder


def converter(run: Path, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> list[Path]:
    """Replace DeepSpeed's converter, which needs real states, with a stand-in; return the list of folders it writes."""
    written: list[Path] = []

    class Done:
        returncode, stderr = code, "no space left"

    def convert(command: list[str], **_: object) -> Done:
        written.append(Path(command[command.index("--output_folder") + 1]))
        written[-1].mkdir()
        (written[-1] / "zero.pt").write_bytes(b"universal")
        return Done()

    monkeypatch.setattr(universal.subprocess, "run", convert)
    (run / "checkpoint-5" / "latest").write_text("global_step")
    checkpoints.seal(run / "checkpoint-5", 2, SEALS)
    return written


def test_the_universal_form_is_sealed_too_and_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint(tmp_path, 5)
    written = converter(tmp_path, monkeypatch)
    (folder / "global_step_universal").mkdir()  # what a killed conversion leaves
    (folder / "global_step_universal" / "half.pt").write_bytes(b"")
    universal.fit_to_ranks(folder, 1, SEALS)
    universal.fit_to_ranks(folder, 1, SEALS)
    assert len(written) == 1
    assert [path.name for path in (folder / "global_step_universal").iterdir()] == ["zero.pt"]
    assert (folder / "latest_universal").read_text() == "global_step_universal"
    assert checkpoints.broken(folder) is None
    (folder / "global_step_universal" / "zero.pt").write_bytes(b"tampered!")
    assert "zero.pt: not the bytes" in str(checkpoints.broken(folder))


@pytest.mark.parametrize("name", ["x.pt", ".x.pt"])
def test_nothing_may_be_added_to_a_finished_universal_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = checkpoint(tmp_path, 5)
    converter(tmp_path, monkeypatch)
    universal.fit_to_ranks(folder, 1, SEALS)
    (folder / "global_step_universal" / name).write_bytes(b"code")
    assert f"{name}: not a file that was sealed" in str(checkpoints.broken(folder))


def test_links_at_the_places_of_a_conversion_lead_nothing_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, outside = checkpoint(tmp_path, 5), tmp_path / "outside"
    converter(tmp_path, monkeypatch)
    outside.mkdir()
    (outside / "file").write_text("mine")
    for name in ("global_step_universal", "global_step_universal_partial", "global_step_partial"):
        (folder / name).symlink_to(outside)
    (folder / "latest_universal").symlink_to(outside / "file")
    universal.fit_to_ranks(folder, 1, SEALS)
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("file", "mine")]
    assert checkpoints.broken(folder) is None


def test_a_file_that_changed_during_a_conversion_is_not_vouched_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, 5)
    converter(tmp_path, monkeypatch)
    convert = universal.subprocess.run

    def change(*args: Any, **kwargs: Any) -> Any:
        (folder / "global_step" / "optim_states.pt").write_bytes(b"changed")
        return convert(*args, **kwargs)

    monkeypatch.setattr(universal.subprocess, "run", change)
    universal.fit_to_ranks(folder, 1, SEALS)
    assert "optim_states.pt: not the bytes" in str(checkpoints.broken(folder))


def test_a_strangers_checkpoint_stays_unsigned_when_it_is_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(tmp_path, 5)
    converter(tmp_path, monkeypatch)
    assert SEALS.is_signed(folder)
    write_seal(folder, world_size=2)
    universal.fit_to_ranks(folder, 1, Seals(trust=True))
    assert checkpoints.broken(folder) is None
    assert not SEALS.is_signed(folder)


def test_a_checkpoint_without_deepspeed_has_no_universal_form(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not written with DeepSpeed"):
        universal.fit_to_ranks(checkpoint(tmp_path, 5), 1, SEALS)


def test_a_failed_conversion_leaves_the_checkpoint_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint(tmp_path, 5)
    converter(tmp_path, monkeypatch, code=1)
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError, match="no space left"):
        universal.fit_to_ranks(folder, 1, SEALS)
    assert sorted(folder.rglob("*")) == before
    assert checkpoints.broken(folder) is None


def test_the_universal_form_is_only_asked_for_on_another_number_of_ranks(tmp_path: Path) -> None:
    folder = str(checkpoint(tmp_path, 5))
    config = tmp_path / "zero.json"
    config.write_text('{"zero_optimization": {"stage": 1}}')
    assert universal.universal_config(str(config), folder, ranks=2) is None
    assert universal.universal_config(None, folder, ranks=1) is None
    assert universal.universal_config(str(config), None, ranks=1) is None
    assert universal.universal_config(str(config), folder, ranks=1) == {
        "zero_optimization": {"stage": 1},
        "checkpoint": {"load_universal": True},
    }
