"""Test that a checkpoint that is not whole is never used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bistil_ds.errors import InputError
from bistil_ds.runs import checkpoints


def checkpoint(run: Path, step: int, whole: bool = True) -> Path:
    folder = run / f"checkpoint-{step}"
    (folder / "global_step").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights" * step)
    (folder / "global_step" / "optim_states.pt").write_bytes(b"state" * step)
    if whole:
        checkpoints.seal(folder, world_size=2)
    return folder


def test_a_sealed_checkpoint_is_whole_and_knows_its_ranks(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 5)
    assert checkpoints.broken(folder) is None
    assert checkpoints.world_size_of(folder) == 2
    assert not list(folder.glob("*.part"))


def test_every_file_is_in_the_seal(tmp_path: Path) -> None:
    files = json.loads((checkpoint(tmp_path, 5) / checkpoints.SEAL).read_text())["files"]
    assert set(files) == {"model.safetensors", "global_step/optim_states.pt"}


def test_half_a_seal_that_a_killed_process_left_is_not_sealed(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 5, whole=False)
    (folder / f"{checkpoints.SEAL}.part").write_text("{")
    checkpoints.seal(folder, world_size=2)
    assert checkpoints.broken(folder) is None


def test_without_a_seal_it_was_not_written_to_its_end(tmp_path: Path) -> None:
    assert "not written to its end" in str(checkpoints.broken(checkpoint(tmp_path, 5, whole=False)))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_seal_counts_as_none(tmp_path: Path, content: str) -> None:
    folder = checkpoint(tmp_path, 5)
    (folder / checkpoints.SEAL).write_text(content)
    assert checkpoints.broken(folder) is not None


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 5)
    (folder / "global_step" / "optim_states.pt").write_bytes(b"State" + b"state" * 4)
    assert "optim_states.pt: not the bytes this run wrote" in str(checkpoints.broken(folder))


def test_a_missing_file_is_found(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 5)
    (folder / "model.safetensors").unlink()
    assert "model.safetensors: missing" in str(checkpoints.broken(folder))


@pytest.mark.parametrize("wanted", ["true", "True", "last"])
def test_the_newest_whole_checkpoint_is_found_by_number(tmp_path: Path, wanted: str) -> None:
    for step in (5, 90):
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 100, whole=False)
    (tmp_path / "checkpoint-best").mkdir()
    assert checkpoints.find_checkpoint(tmp_path, wanted) == tmp_path / "checkpoint-90"


def test_a_run_killed_before_its_first_checkpoint_has_none(tmp_path: Path) -> None:
    checkpoint(tmp_path, 5, whole=False)
    assert checkpoints.find_checkpoint(tmp_path, "true") is None


def test_a_named_checkpoint_is_taken(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 5)
    checkpoint(tmp_path, 10)
    assert checkpoints.find_checkpoint(tmp_path, str(folder)) == folder


def test_a_named_checkpoint_must_be_whole(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 5, whole=False)
    with pytest.raises(InputError, match="not written to its end"):
        checkpoints.find_checkpoint(tmp_path, str(folder))


@pytest.mark.parametrize("name", ["other/checkpoint-5", "this", "this/checkpoint-6x", "nowhere"])
def test_only_checkpoints_of_the_run_itself_are_opened(tmp_path: Path, name: str) -> None:
    for run in ("this", "other"):
        checkpoint(tmp_path / run, 5)
    with pytest.raises(InputError, match="is no checkpoint of the run in"):
        checkpoints.find_checkpoint(tmp_path / "this", str(tmp_path / name))


def remaining(run: Path) -> list[int]:
    return [checkpoints.steps_of(folder) for folder in checkpoints.all_checkpoints(run)]


@pytest.mark.parametrize(
    ("keep", "best", "left"),
    [
        (2, None, [90, 100]),
        (2, 5, [5, 100]),
        (1, None, [100]),
        (1, 5, [5, 100]),
        (3, 100, [10, 90, 100]),
        (9, 5, [5, 10, 90, 100]),
    ],
)
def test_the_oldest_go_but_never_the_best_or_the_newest(
    tmp_path: Path, keep: int, best: int | None, left: list[int]
) -> None:
    for step in (5, 10, 90, 100):
        checkpoint(tmp_path, step)
    checkpoints.prune(tmp_path, keep, str(tmp_path / f"checkpoint-{best}") if best else None)
    assert remaining(tmp_path) == left


def universal(run: Path, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> list[Path]:
    """Replace DeepSpeed's converter, which needs real states, with a stand-in; return the list of folders it writes."""
    written: list[Path] = []

    class Done:
        returncode, stderr = code, "no space left"

    def convert(command: list[str], **_: object) -> Done:
        written.append(Path(command[command.index("--output_folder") + 1]))
        written[-1].mkdir()
        (written[-1] / "zero.pt").write_bytes(b"universal")
        return Done()

    monkeypatch.setattr(checkpoints.subprocess, "run", convert)
    (run / "checkpoint-5" / "latest").write_text("global_step")
    checkpoints.seal(run / "checkpoint-5", world_size=2)
    return written


def test_the_universal_form_is_sealed_too_and_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint(tmp_path, 5)
    written = universal(tmp_path, monkeypatch)
    (folder / "global_step_universal").mkdir()  # what a killed conversion leaves
    (folder / "global_step_universal" / "half.pt").write_bytes(b"")
    checkpoints.to_universal(folder)
    checkpoints.to_universal(folder)
    assert len(written) == 1
    assert [path.name for path in (folder / "global_step_universal").iterdir()] == ["zero.pt"]
    assert (folder / "latest_universal").read_text() == "global_step_universal"
    assert checkpoints.broken(folder) is None
    (folder / "global_step_universal" / "zero.pt").write_bytes(b"tampered!")
    assert "zero.pt: not the bytes" in str(checkpoints.broken(folder))


def test_a_failed_conversion_leaves_the_checkpoint_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint(tmp_path, 5)
    universal(tmp_path, monkeypatch, code=1)
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError, match="no space left"):
        checkpoints.to_universal(folder)
    assert sorted(folder.rglob("*")) == before
    assert checkpoints.broken(folder) is None


def test_the_universal_form_is_only_asked_for_on_another_number_of_ranks(tmp_path: Path) -> None:
    folder = str(checkpoint(tmp_path, 5))
    config = tmp_path / "zero.json"
    config.write_text('{"zero_optimization": {"stage": 1}}')
    assert checkpoints.universal_config(str(config), folder, ranks=2) is None
    assert checkpoints.universal_config(None, folder, ranks=1) is None
    assert checkpoints.universal_config(str(config), None, ranks=1) is None
    assert checkpoints.universal_config(str(config), folder, ranks=1) == {
        "zero_optimization": {"stage": 1},
        "checkpoint": {"load_universal": True},
    }
