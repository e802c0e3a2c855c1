"""Test that all training data that a model's record names is looked up, or named as not looked up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_task import Topics

from bistil_ds.evaluation.training_text import TrainingText, recorded_training_texts
from bistil_ds.tasks import Task, find_task
from bistil_ds.tasks.candidates import ModelChoice


def recorded(folder: Path, task: Task, **arguments: Any) -> tuple[list[TrainingText], list[str]]:
    """Return what is found for a model whose record names the data in the arguments."""
    (folder / "run.json").write_text(json.dumps({"arguments": {"task": task.name, **arguments}}))
    return recorded_training_texts([ModelChoice("m", str(folder))], task)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_one_training_file_counts_in_each_of_its_languages(tmp_path: Path) -> None:
    file = write(tmp_path / "xnli.tsv", "")
    words = [f"en={file}", f"de={file}", f"en={file}", f"fr=plain:{file}"]
    found, absent = recorded(tmp_path, Topics(), train_file=words)
    expected = [(str(file), "en"), (str(file), "de"), (f"plain:{file}", "fr")]
    assert [(text.name, text.options.language) for text in found] == expected
    assert absent == []


def test_both_sides_of_parallel_files_count(tmp_path: Path) -> None:
    train, en, de = (write(tmp_path / f"{name}.txt", f"Some  {name}\n") for name in ("train", "en", "de"))
    task = find_task("embed")
    found, absent = recorded(tmp_path, task, train_file=[f"en={train}"], parallel_file=[f"en-de={en},{de}"])
    assert [text.name for text in found] == [str(train), f"{en},{de}"]
    assert [text.keys(task, False) for text in found] == [{"some train"}, {"some en", "some de"}]
    assert absent == []


def test_text_without_labels_counts(tmp_path: Path) -> None:
    train, plain = write(tmp_path / "train.iob2", "Ada B-PER\n\n"), write(tmp_path / "plain.txt", "It rains.\n")
    task = find_task("ner")
    found, _ = recorded(tmp_path, task, train_file=[f"en={train}"], unlabelled_file=[f"en={plain}"])
    assert [text.keys(task, False) for text in found] == [{"ada"}, {"it rains ."}]


def test_a_folder_of_texts_counts(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    write(tmp_path / "texts" / "a.txt", "It rains.\n")
    task = find_task("mlm")
    found, _ = recorded(tmp_path, task, train_file=[f"en={tmp_path / 'texts'}"])
    assert [text.keys(task, False) for text in found] == [{"it rains."}]


def test_data_that_is_not_at_hand_is_named(tmp_path: Path) -> None:
    here = write(tmp_path / "en.txt", "a\n")
    arguments = {
        "train_file": [f"en={here}", "de=org/name", "de=gone.txt"],
        "parallel_file": [f"en-tr={here},gone.tr.txt"],
        "unlabelled_file": None,
    }
    found, absent = recorded(tmp_path, find_task("embed"), **arguments)
    assert [text.name for text in found] == [str(here)]
    names = f"org/name, gone.txt, {here},gone.tr.txt"
    expected = f"{tmp_path / 'run.json'}: no files or folders on this machine: {names} (hub data sets are not loaded)"
    assert absent == [expected]
