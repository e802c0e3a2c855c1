"""Test that exports are pushed to the hub and load from there, on a hub of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import transformers
from export_folders import INPUTS, export, header, in_memory, same_outputs, write_task_sft
from stand_ins.hub import Hub, stand_in_hub

from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.tasks import find_task
from bistil_ds.tasks.models import load_task_model


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with stand_in_hub(tmp_path / "hub cache") as hub:
        yield hub


def test_exports_are_pushed_and_load_by_name_and_revision(
    student: Path, ner: Path, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, task = write_task_sft(tmp_path / "other", student, "ner", seed=1), find_task("ner")
    assert export(student, [ner], tmp_path / "first", "--push_to_hub", "org/ner", "--private") == 0
    assert f"/org/ner/commit/{hub.sha('org/ner', 'main')}" in capsys.readouterr().out.splitlines()[0]
    assert export(student, [other], tmp_path / "second", "--push_to_hub", "org/ner@v2") == 0
    assert hub.private == {"org/ner"}
    for folder, revision in (("first", "main"), ("second", "v2")):
        here = {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir() if path.name != "run.json"}
        assert hub.files("org/ner", revision) == {**here, ".gitattributes": b""}
    auto = transformers.AutoModelForTokenClassification
    for sft, loaded in (
        (ner, load_task_model("org/ner", task=task).model),
        (other, load_task_model("org/ner@v2", task=task).model),
        (other, auto.from_pretrained("org/ner", revision="v2")),
    ):
        assert same_outputs(in_memory(student, [sft], "ner"), loaded, INPUTS)
    card = hub.files("org/ner")["README.md"].decode()
    assert 'from_pretrained("org/ner")' in card
    assert header(card)["license"] == "unknown"


def test_a_branch_holds_nothing_but_the_last_export(student: Path, ner: Path, hub: Hub, tmp_path: Path) -> None:
    hub.commit("org/ner", "main", {"model.onnx": b"of other weights", ".gitattributes": b"", "README.md": b"old"})
    before = hub.sha("org/ner", "main")
    assert export(student, [ner], tmp_path / "out", "--push_to_hub", "org/ner") == 0
    assert "model.onnx" not in hub.files("org/ner")
    assert "model.onnx" in hub.commits[str(before)]


def test_model_and_fine_tuning_come_from_their_revisions(student: Path, ner: Path, hub: Hub, tmp_path: Path) -> None:
    hub.add("org/student", student, "v1")
    hub.add("org/sft", ner, "v3")
    assert export(Path("org/student@v1"), [Path("org/sft@v3")], tmp_path / "out") == 0
    assert SparseFineTuning.load("org/sft@v3").metadata["task"] == "ner"
    loaded = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path / "out")
    assert same_outputs(in_memory(student, [ner], "ner"), loaded, INPUTS)
    card = (tmp_path / "out" / "README.md").read_text()
    assert header(card)["base_model"] == "org/student"  # the hub links models by their ids
    assert "`org/student@v1`" in card


@pytest.mark.parametrize("failing", ["repos/create", "preupload", "/commit/"])
def test_a_push_that_fails_is_one_line_and_leaves_the_folder(
    student: Path, ner: Path, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], failing: str
) -> None:
    hub.failing = failing
    with pytest.raises(
        SystemExit, match=r"^error: --push_to_hub org/ner: [^\n]*required permissions[^\n]* holds the model$"
    ):
        export(student, [ner], tmp_path / "out", "--push_to_hub", "org/ner")
    loaded = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path / "out")
    assert same_outputs(in_memory(student, [ner], "ner"), loaded, INPUTS)


REFUSED = {
    "no name": (["--push_to_hub", "ner"], "--push_to_hub ner: expected org/name, or org/name@branch"),
    "no branch": (["--push_to_hub", "org/ner@"], "--push_to_hub org/ner@: expected"),
    "private, but not pushed": (["--private"], "--private: says how to make a repository"),
    "offline": (["--push_to_hub", "org/ner"], "--push_to_hub org/ner: HF_HUB_OFFLINE is set"),
    "no token": (["--push_to_hub", "org/ner"], "--push_to_hub org/ner: no token of the hub"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_cannot_be_pushed_is_refused_before_the_export(
    student: Path,
    ner: Path,
    tmp_path: Path,
    case: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags, message = REFUSED[case]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", case == "offline")
    monkeypatch.setattr("bistil_ds.export.push.get_token", lambda: None if case == "no token" else "a token")
    assert export(student, [ner], tmp_path / "out", *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
