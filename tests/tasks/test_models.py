"""Test that a base model and its fine-tunings load as a model of a task."""

from __future__ import annotations

from pathlib import Path

import pytest
from export_folders import LABELS, write_student, write_task_sft
from safetensors.torch import load_file

from bistil_ds.errors import InputError
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.tasks import find_task
from bistil_ds.tasks.models import load_task_model, recorded_labels

NER = find_task("ner")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_student(tmp_path_factory.mktemp("models") / "base")


@pytest.mark.parametrize("made_for", ["mlm", None])
def test_a_language_sft_after_the_tasks_leaves_the_labels(base: Path, tmp_path: Path, made_for: str | None) -> None:
    task, language = write_task_sft(tmp_path / "ner", base, "ner"), tmp_path / "language"
    write_task_sft(language, base, "mlm", seed=1)
    fine_tuning = SparseFineTuning.load(language)
    fine_tuning.metadata["task"] = made_for
    assert fine_tuning.metadata["labels"] == []
    fine_tuning.save(language)
    sfts = [str(task), str(language)]
    loaded = load_task_model(str(base), sfts)
    assert loaded.task.name == "ner"
    assert loaded.labels == tuple(LABELS["ner"])
    assert recorded_labels(sfts, str(base), NER, "--teacher_sft") == loaded.labels


def test_an_sft_is_not_applied_twice(base: Path, tmp_path: Path) -> None:
    task = str(write_task_sft(tmp_path / "ner", base, "ner"))
    with pytest.raises(InputError, match="is given twice"):
        load_task_model(str(base), [task, task])


def test_a_dense_fine_tuning_that_undoes_another_says_so(base: Path, tmp_path: Path) -> None:
    language, task = write_task_sft(tmp_path / "language", base, "mlm"), write_task_sft(tmp_path / "ner", base, "ner")
    dense = SparseFineTuning.load(task)
    name = next(iter(SparseFineTuning.load(language).sparse))
    dense.dense[name] = dense.sparse.pop(name).values_K.new_zeros(
        tuple(load_file(base / "model.safetensors")[name].shape)
    )
    dense.save(task)
    with pytest.warns(UserWarning, match=r"ner replaces 1 tensors that SFT .*language changes"):
        load_task_model(str(base), [str(language), str(task)])


def test_a_model_that_is_not_there_is_named_where_no_sft_knows_the_labels(base: Path, tmp_path: Path) -> None:
    SparseFineTuning.load(write_task_sft(tmp_path / "ner", base, "ner")).save_published(tmp_path)
    with pytest.raises(InputError, match=r"--teacher_model /no/where: there is no such folder"):
        recorded_labels([str(tmp_path)], "/no/where", NER, "--teacher_model")


def test_labels_of_another_task_are_refused_by_name(base: Path, tmp_path: Path) -> None:
    task, language = write_task_sft(tmp_path / "pos", base, "pos"), write_task_sft(tmp_path / "mlm", base, "mlm")
    with pytest.raises(InputError, match="was made for pos, asked for ner"):
        recorded_labels([str(task), str(language)], str(base), NER, "--teacher_sft")
