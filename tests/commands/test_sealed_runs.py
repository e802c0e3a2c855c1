"""Test that a resumed run reads only what its user sealed, and that no kill leaves a folder stuck."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
import tiny

from bistil_ds.commands.general import COMMAND, prepare
from bistil_ds.console import cli
from bistil_ds.distillation.building import read_chunks
from bistil_ds.distillation.preparation import PreparedRun
from bistil_ds.distributed import startup
from bistil_ds.distributed.run_on_ranks import run_on_ranks
from bistil_ds.errors import InputError
from bistil_ds.models.inputs import load_tokenizer
from bistil_ds.runs import checkpoints, findings
from bistil_ds.runs.folder import new_folder, run_folder
from bistil_ds.runs.holding import LOCK
from bistil_ds.runs.seals import SEAL, Seals, write_seal


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write texts, a teacher, and a run that has only begun."""
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 100)
    tiny.write_teacher(folder / "teacher")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("BISTIL_CACHE", str(folder / "cache"))
        prepare(arguments(folder, folder))
    return folder


@pytest.fixture
def place(material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a copy of the run."""
    monkeypatch.setenv("BISTIL_CACHE", str(material / "cache"))
    shutil.copytree(material / "run", tmp_path / "run")
    return tmp_path


def arguments(material: Path, place: Path, *flags: object) -> dict[str, object]:
    words = ["--teacher_model", material / "teacher", "--source_language", "aa", "--target_language", "bb"]
    words += ["--source_file", material / "aa.txt", "--target_file", material / "bb.txt", "--max_length", 32]
    words += ["--per_device_train_batch_size", 2, "--output_dir", place / "run", *flags]
    return vars(cli.parse([str(word) for word in words], COMMAND.flags, COMMAND.description))


def resumed(material: Path, place: Path, *flags: object) -> PreparedRun:
    return prepare(arguments(material, place, "--resume_from_checkpoint", "true", *flags))


def checkpoint(place: Path) -> Path:
    folder = place / "run" / "checkpoint-4"
    folder.mkdir()
    (folder / "trainer_state.json").write_text("{}")
    checkpoints.seal(folder, 1, Seals())
    return folder


def change(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("name", ["teacher/model.safetensors", "student/tokenizer.json", "student/distillation.json"])
def test_a_flipped_byte_in_the_built_models_ends_a_resumed_run(material: Path, place: Path, name: str) -> None:
    change(place / "run" / "build" / name)
    with pytest.raises(InputError, match=f"run/build/{name}: not the bytes that were written; the run cannot be resum"):
        resumed(material, place)


@pytest.mark.parametrize(
    ("seal", "reason"),
    [
        (None, "complete.json: no such file; the folder was not written to its end"),
        ("", "complete.json: not JSON"),
        ("[" * 100_000, "complete.json: not JSON"),
        ('{"files": {}}', "complete.json: lists no files"),
    ],
)
def test_built_models_without_a_good_seal_end_a_resumed_run(
    material: Path, place: Path, seal: str | None, reason: str
) -> None:
    path = place / "run" / "build" / SEAL
    path.unlink() if seal is None else path.write_text(seal)
    with pytest.raises(InputError, match=reason):
        resumed(material, place)


def test_what_is_not_signed_is_resumed_only_with_trust(material: Path, place: Path) -> None:
    for folder in (place / "run" / "build", checkpoint(place)):
        write_seal(folder, world_size=1)
        with pytest.raises(InputError, match="not signed with your key"):
            resumed(material, place)
    found = resumed(material, place, "--trust_checkpoint").checkpoint
    assert found == str(place / "run" / "checkpoint-4")
    assert isinstance(found, checkpoints.Checked)  # so that no rank checks it again


def test_a_resumed_run_reads_each_file_once_and_other_ranks_read_none(
    material: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(place)
    for language in ("aa", "bb"):
        os.utime(material / f"{language}.txt", (1e9, 1e9))  # long ago
    monkeypatch.setattr(findings, "_found", {})
    read, digest = Counter[str](), hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: read.update([file.name]) or digest(file, name))
    run = resumed(material, place)
    known = {str(path) for path in (material / "aa.txt", material / "bb.txt", folder / "trainer_state.json")}
    assert known <= read.keys()
    assert sum(path.endswith("data.arrow") for path in read) == 4  # texts and chunks of two languages
    assert set(read.values()) == {1}
    told = findings.known()
    monkeypatch.setattr(findings, "_found", {})  # another rank
    monkeypatch.setattr(startup, "rank", lambda: 1)
    monkeypatch.setattr(startup, "from_rank_0", lambda value: (run, told))
    read.clear()
    run_on_ranks(lambda: run, read_again, use_deepspeed=False)
    assert not read


def read_again(run: PreparedRun) -> None:
    read_chunks(run.request, load_tokenizer("", run.folder / "build" / "student"), progress=False)


def test_a_run_of_version_0_1_has_no_seal_on_its_models_and_needs_trust(material: Path, place: Path) -> None:
    (place / "run" / "build" / SEAL).unlink()
    folder = checkpoint(place)
    hashes = {name: one["sha256"] for name, one in json.loads((folder / SEAL).read_text())["files"].items()}
    (folder / SEAL).write_text(json.dumps({"world_size": 1, "files": hashes}))
    assert resumed(material, place, "--trust_checkpoint").checkpoint == str(place / "run" / "checkpoint-4")


def test_a_key_that_cannot_be_read_ends_the_run_before_it_begins(material: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--seal_key nowhere: cannot be read"):
        prepare(arguments(material, tmp_path, "--seal_key", "nowhere"))
    assert list(tmp_path.iterdir()) == []


def test_another_key_is_another_user(material: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = place / "key"
    key.write_text("sixteen bytes or more")
    key.chmod(0o600)
    for folder in (place / "run" / "build", checkpoint(place)):
        Seals(str(key)).write(folder, world_size=1)
    with pytest.raises(InputError, match="not signed with your key"):
        resumed(material, place)
    found = resumed(material, place, "--seal_key", key).checkpoint
    monkeypatch.setenv("BISTIL_SEAL_KEY", str(key))
    assert resumed(material, place).checkpoint == found == str(place / "run" / "checkpoint-4")


@pytest.mark.parametrize(
    ("part", "value", "odd"),
    [
        ("arguments", [], "arguments"),
        ("data", "x", "data"),
        ("results", [1], "results"),
        ("results", {"build": 1}, "build"),
        ("results", {"stages": [1]}, "stages"),
        ("command", 1, "command"),
    ],
)
def test_a_record_of_another_shape_is_refused(material: Path, place: Path, part: str, value: object, odd: str) -> None:
    record = place / "run" / "run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), part: value}))
    with pytest.raises(InputError, match=f'run/run.json: "{odd}" is not what a run records'):
        resumed(material, place)


@pytest.mark.parametrize("content", ["", "[" * 100_000, "[]", "{}", "\0", '{"arguments": {}, "data": {}}'])
def test_a_damaged_record_is_refused(material: Path, place: Path, content: str) -> None:
    (place / "run" / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run/run\.json: .*the run cannot be resumed"):
        resumed(material, place)


@pytest.mark.parametrize("data", [{}, {"source": 1}, {"source": {"sha256": None, "file": None}}])
def test_a_record_without_the_text_is_of_another_run(material: Path, place: Path, data: object) -> None:
    record = place / "run" / "run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "data": data}))
    with pytest.raises(
        InputError, match=r"--source_file .*aa\.txt: not the text that the run in .*run was started with"
    ):
        resumed(material, place)


def test_a_run_killed_before_its_record_leaves_no_stuck_folder(material: Path, place: Path) -> None:
    (place / "run" / "run.json").rename(place / "run" / "run.json.part")  # the models are in place, the record is not
    assert prepare(arguments(material, place)).checkpoint is None
    assert {path.name for path in (place / "run").iterdir()} == {LOCK, "build", "run.json"}


@pytest.mark.parametrize("more", [[], ["--resume_from_checkpoint", "true"]])
def test_a_kill_while_the_remains_of_another_are_removed_leaves_no_stuck_folder(
    place: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    run = place / "run"
    (run / "run.json").unlink()

    def removes_some(folder: Path, **_: object) -> None:
        (folder / "build" / "student" / "config.json").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", removes_some)
        with pytest.raises(KeyboardInterrupt), new_folder(run, explicit=True):
            pass
    with new_folder(run_folder(str(run), "general", more[-1] if more else None), explicit=True):
        assert list(run.iterdir()) == [run / LOCK]
