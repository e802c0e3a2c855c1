"""Test that a checkpoint that is not whole is never used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bistil_ds.errors import InputError, Notice
from bistil_ds.runs import checkpoints, findings
from bistil_ds.runs.cache import file_hash
from bistil_ds.runs.seals import Seals, write_seal

SEALS = Seals()
FILES = ("model.safetensors", "global_step/optim_states.pt")


def checkpoint(run: Path, step: int, whole: bool = True) -> Path:
    folder = run / f"checkpoint-{step}"
    (folder / "global_step").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights" * step)
    (folder / "global_step" / "optim_states.pt").write_bytes(b"state" * step)
    if whole:
        checkpoints.seal(folder, 2, SEALS)
    return folder


def test_a_sealed_checkpoint_is_whole_and_knows_its_ranks(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 5)
    assert checkpoints.broken(folder) is None
    assert checkpoints.world_size_of(folder) == 2
    assert not list(folder.glob("*.part"))


def test_without_a_seal_it_was_not_written_to_its_end(tmp_path: Path) -> None:
    assert "not written to its end" in str(checkpoints.broken(checkpoint(tmp_path, 5, whole=False)))


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 5)
    (folder / "global_step" / "optim_states.pt").write_bytes(b"State" + b"state" * 4)
    assert "optim_states.pt: not the bytes that were written" in str(checkpoints.broken(folder))


def test_a_missing_file_is_found(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 5)
    (folder / "model.safetensors").unlink()
    assert "'model.safetensors', which is missing" in str(checkpoints.broken(folder))


@pytest.mark.parametrize("wanted", ["true", "True", "last"])
def test_the_newest_whole_checkpoint_is_found_by_number(tmp_path: Path, wanted: str) -> None:
    for step in (5, 90):
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 100, whole=False)
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "checkpoint-110").write_text("a file")
    with pytest.warns(Notice, match="checkpoint-100 is left out: .*not written to its end"):
        assert checkpoints.find_checkpoint(tmp_path, wanted, SEALS) == tmp_path / "checkpoint-90"


def test_a_run_killed_before_its_first_checkpoint_has_none(tmp_path: Path) -> None:
    checkpoint(tmp_path, 5, whole=False)
    with pytest.warns(Notice, match="checkpoint-5 is left out"):
        assert checkpoints.find_checkpoint(tmp_path, "true", SEALS) is None


def test_a_damaged_newest_checkpoint_is_named_with_the_file_and_left_out(tmp_path: Path) -> None:
    for step in (5, 10):
        checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-10" / "model.safetensors").write_bytes(b"weights" * 9 + b"weighty")
    with pytest.warns(Notice, match="checkpoint-10 is left out: .*model.safetensors: not the bytes that were written"):
        assert checkpoints.find_checkpoint(tmp_path, "true", SEALS) == tmp_path / "checkpoint-5"


def test_a_file_that_nobody_sealed_is_never_read(tmp_path: Path) -> None:
    for step in (5, 10):
        checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-10" / "scaler.pt").write_bytes(b"")
    with pytest.warns(Notice, match="scaler.pt: not a file that was sealed"):
        assert checkpoints.find_checkpoint(tmp_path, "last", SEALS) == tmp_path / "checkpoint-5"


@pytest.mark.parametrize("wanted", ["true", "checkpoint-10"])
def test_a_checkpoint_that_a_stranger_signed_stops_the_run_unless_it_is_trusted(tmp_path: Path, wanted: str) -> None:
    checkpoint(tmp_path, 5)
    folder = checkpoint(tmp_path, 10)
    write_seal(folder, b"the key of a stranger", world_size=2)
    wanted = wanted if wanted == "true" else str(folder)
    with pytest.raises(InputError, match="not signed with your key"):
        checkpoints.find_checkpoint(tmp_path, wanted, SEALS)
    assert checkpoints.find_checkpoint(tmp_path, wanted, Seals(trust=True)) == folder


@pytest.mark.parametrize("tag", ["../checkpoint-5/global_step", "/etc", "..", ".", "", "global", "nowhere"])
@pytest.mark.parametrize("name", ["latest", "latest_universal"])
def test_deepspeeds_subfolder_must_be_sealed_inside_the_checkpoint(tmp_path: Path, name: str, tag: str) -> None:
    checkpoint(tmp_path, 5)
    folder = checkpoint(tmp_path, 10, whole=False)
    (folder / "latest").write_text("global_step\n")
    (folder / name).write_text(tag)
    checkpoints.seal(folder, 2, SEALS)
    assert f"{name}: names {tag!r}, which is no sealed folder" in str(checkpoints.broken(folder))
    (folder / name).write_text("global_step\n")
    checkpoints.seal(folder, 2, SEALS)
    assert checkpoints.broken(folder) is None


def with_best(folder: Path, best: str) -> None:
    checkpoints.seal(folder, 2, SEALS, best)


def of_0_1_with_best(folder: Path, best: str) -> None:
    (folder / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": best, "loss": float("nan")}))
    write_seal(folder, world_size=2)


@pytest.mark.parametrize("write", [with_best, of_0_1_with_best])
def test_the_best_checkpoint_is_looked_for_in_the_runs_own_folder(
    tmp_path: Path, write: Callable[[Path, str], None]
) -> None:
    for step in (5, 10):
        checkpoint(tmp_path, step)
    write(tmp_path / "checkpoint-10", "/another/machine/run/checkpoint-5")
    assert checkpoints.best_of(tmp_path / "checkpoint-10") == tmp_path / "checkpoint-5"
    assert checkpoints.best_of(tmp_path / "checkpoint-5") is None


@pytest.mark.parametrize("name", ["..", ".", "/", "runs/other", "checkpoint-5x", "[]"])
def test_a_best_that_is_no_checkpoint_is_not_looked_for(tmp_path: Path, name: str) -> None:
    checkpoint(tmp_path / "run", 5)
    write_seal(tmp_path / "run" / "checkpoint-5", world_size=2, best=name)
    with pytest.raises(InputError, match="the best so far"):
        checkpoints.find_checkpoint(tmp_path / "run", str(tmp_path / "run" / "checkpoint-5"), Seals(trust=True))


@pytest.mark.parametrize("damage", ["damaged", "missing"])
def test_a_checkpoint_whose_best_is_lost_is_left_out(tmp_path: Path, damage: str) -> None:
    for step in (5, 10, 15):
        checkpoint(tmp_path, step)
    with_best(tmp_path / "checkpoint-10", "run/checkpoint-10")
    with_best(tmp_path / "checkpoint-15", "run/checkpoint-10")
    if damage == "missing":
        shutil.rmtree(tmp_path / "checkpoint-10")
    else:
        (tmp_path / "checkpoint-10" / "model.safetensors").write_bytes(b"")
    with pytest.warns(Notice, match="checkpoint-15 needs checkpoint-10, the best so far"):
        assert checkpoints.find_checkpoint(tmp_path, "true", SEALS) == tmp_path / "checkpoint-5"


@pytest.mark.parametrize("ranks", [None, 0, -1, "2", [2], {}])
def test_a_seal_without_a_number_of_ranks_is_refused(tmp_path: Path, ranks: object) -> None:
    folder = checkpoint(tmp_path, 5)
    write_seal(folder, world_size=ranks)
    with pytest.raises(InputError, match="world_size is"):
        checkpoints.world_size_of(folder)


def test_a_new_checkpoint_takes_the_place_of_what_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("file", "folder", "link", "nothing"):
        (tmp_path / "elsewhere" / "kept").write_text("")
        if name == "file":
            (tmp_path / name).write_text("")
        elif name == "folder":
            (tmp_path / name / "below").mkdir(parents=True)
        elif name == "link":
            (tmp_path / name).symlink_to(tmp_path / "elsewhere")
        checkpoints.make_room(tmp_path / name)
        assert not (tmp_path / name).exists()
    assert (tmp_path / "elsewhere" / "kept").exists()


def test_a_named_checkpoint_is_taken(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 5)
    checkpoint(tmp_path, 10)
    assert checkpoints.find_checkpoint(tmp_path, str(folder), SEALS) == folder


def test_a_named_checkpoint_must_be_whole(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 5, whole=False)
    with pytest.raises(InputError, match="not written to its end"):
        checkpoints.find_checkpoint(tmp_path, str(folder), SEALS)


@pytest.mark.parametrize("name", ["other/checkpoint-5", "this", "this/checkpoint-6x", "nowhere"])
def test_only_checkpoints_of_the_run_itself_are_opened(tmp_path: Path, name: str) -> None:
    for run in ("this", "other"):
        checkpoint(tmp_path / run, 5)
    with pytest.raises(InputError, match="is no checkpoint of the run in"):
        checkpoints.find_checkpoint(tmp_path / "this", str(tmp_path / name), SEALS)


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
    checkpoints.prune(tmp_path / "checkpoint-100", keep, str(tmp_path / f"checkpoint-{best}") if best else None)
    assert remaining(tmp_path) == left


@pytest.mark.parametrize(
    ("damaged", "best", "left"),
    [(10, None, [5, 10, 20]), (5, 5, [5, 10, 20]), (20, None, [10, 20]), (5, None, [10, 20])],
)
def test_the_newest_whole_ones_are_kept_beside_damaged_ones(
    tmp_path: Path, damaged: int, best: int | None, left: list[int]
) -> None:
    for step in (2, 5, 10, 20):
        checkpoint(tmp_path, step)
    (tmp_path / f"checkpoint-{damaged}" / "model.safetensors").write_bytes(b"")
    checkpoints.prune(tmp_path / "checkpoint-20", 2, str(tmp_path / f"checkpoint-{best}") if best else None)
    assert remaining(tmp_path) == left


def test_what_is_damaged_does_not_push_out_what_is_whole(tmp_path: Path) -> None:
    for step in (5, 10):
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 20, whole=False)  # the run went on from step 5, and has just written step 10
    checkpoints.prune(tmp_path / "checkpoint-10", 1, None)
    assert remaining(tmp_path) == [10, 20]


def test_the_best_of_every_kept_one_is_kept(tmp_path: Path) -> None:
    for step, best in ((5, 5), (10, 10), (20, 10), (30, 30)):
        with_best(checkpoint(tmp_path, step), f"checkpoint-{best}")
    checkpoints.prune(tmp_path / "checkpoint-30", 2, str(tmp_path / "checkpoint-30"))
    assert remaining(tmp_path) == [10, 20, 30]
    (tmp_path / "checkpoint-30" / "model.safetensors").write_bytes(b"")
    with pytest.warns(Notice, match="checkpoint-30 is left out"):
        assert checkpoints.find_checkpoint(tmp_path, "true", SEALS) == tmp_path / "checkpoint-20"


def test_one_whose_best_is_lost_does_not_count_as_whole(tmp_path: Path) -> None:
    for step, best in ((5, 5), (10, 10), (20, 10), (30, 30)):
        with_best(checkpoint(tmp_path, step), f"checkpoint-{best}")
    (tmp_path / "checkpoint-10" / "model.safetensors").write_bytes(b"")
    checkpoints.prune(tmp_path / "checkpoint-30", 2, str(tmp_path / "checkpoint-30"))
    assert remaining(tmp_path) == [5, 10, 20, 30]


def test_pruning_reads_each_kept_checkpoint_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(findings, "_found", {})
    monkeypatch.setattr(findings, "SETTLED", 0)
    monkeypatch.setattr(findings, "file_hash", lambda path: read.append(path) or file_hash(path))
    for step in (5, 10, 20, 30):
        with_best(checkpoint(tmp_path, step), "checkpoint-5")
        checkpoints.prune(tmp_path / f"checkpoint-{step}", 3, str(tmp_path / "checkpoint-5"))
    assert remaining(tmp_path) == [5, 20, 30]
    assert sorted(read) == sorted(tmp_path / f"checkpoint-{step}" / name for step in (5, 10, 20) for name in FILES)
    (tmp_path / "checkpoint-20" / "model.safetensors").write_bytes(b"weighty" * 20)
    assert checkpoints.broken(tmp_path / "checkpoint-20")


def test_a_missing_best_is_asked_for_before_anything_starts_over(tmp_path: Path) -> None:
    checkpoint(tmp_path, 5)
    checkpoints.seal(checkpoint(tmp_path, 10, whole=False), 2, SEALS, best="checkpoint-5")
    shutil.rmtree(tmp_path / "checkpoint-5")
    with pytest.warns(Notice), pytest.raises(InputError, match=r"checkpoint-10 needs checkpoint-5, .*put it back"):
        checkpoints.find_checkpoint(tmp_path, "true", SEALS)


def test_the_best_must_be_signed_too(tmp_path: Path) -> None:
    write_seal(checkpoint(tmp_path, 5), world_size=2)
    checkpoints.seal(checkpoint(tmp_path, 10, whole=False), 2, SEALS, best="checkpoint-5")
    for wanted in ("true", str(tmp_path / "checkpoint-10")):
        with pytest.raises(InputError, match=r"checkpoint-5/complete.json: not signed with your key"):
            checkpoints.find_checkpoint(tmp_path, wanted, SEALS)
    assert checkpoints.find_checkpoint(tmp_path, "true", Seals(trust=True)) == tmp_path / "checkpoint-10"


def test_what_a_killed_conversion_of_0_1_left_is_no_damage(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 5)
    (folder / "latest").write_text("global_step")
    checkpoints.seal(folder, 2, SEALS)
    (folder / "global_step_partial").mkdir()
    (folder / "global_step_partial" / "half.pt").write_bytes(b"")
    assert checkpoints.broken(folder) is None
