"""Test phase 2 on text without labels: what becomes of plain text, what is learned from it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import unigram_tokenizer

from bistil_ds.errors import InputError
from bistil_ds.models.head import IGNORED
from bistil_ds.tasks import ReadOptions, find_task
from bistil_ds.tuning.data import read_data, training_rows
from bistil_ds.tuning.data_request import TaskDataRequest
from bistil_ds.tuning.from_flags import request_of
from bistil_ds.tuning.student_tuning import StudentTuning

TEXT = "Ankara'da kar var.\n\nDün yağdı!\nBugün yok\n"
TAGGED = "Ada\tB-PER\nsleeps\tO\n\nIzmir\tB-LOC\n\n"
FLAGS = {"student": "s", "teacher_model": "t", "train_file": ["en=a"], "dev_file": ["en=b"]}


@pytest.fixture
def plain(tmp_path: Path) -> str:
    (tmp_path / "tr.txt").write_text(TEXT, encoding="utf-8")
    return str(tmp_path / "tr.txt")


@pytest.mark.parametrize("task", ["ner", "pos"])
def test_a_text_becomes_a_sentence_without_tags_whose_words_are_marked(task: str, plain: str) -> None:
    task_, tokenizer = find_task(task), unigram_tokenizer()
    sentences = list(task_.read_unlabelled(plain, ReadOptions("--unlabelled_file")))
    assert [one.words for one in sentences] == [
        ("Ankara", "'", "da", "kar", "var", "."),
        ("Dün", "yağdı", "!"),
        ("Bugün", "yok"),
    ]
    assert [one.place.line for one in sentences] == [1, 3, 4]
    assert {tag for one in sentences for tag in one.tags} == set()
    labels = ("O", "X")
    task_.check_labels(sentences, labels, "--unlabelled_file")
    rows = task_.features(sentences, tokenizer, labels, 64, training=True)
    assert [sum(label != IGNORED for label in row["labels"]) for row in rows] == [6, 3, 2]
    batch = task_.collate(rows, 0)
    logits_BTC = torch.randn(*batch["input_ids"].shape, 2)
    (distilled,) = task_.distilled_logits(type("Outputs", (), {"logits": logits_BTC}), batch)
    assert len(distilled) == 11  # the teacher is asked at every word, and nowhere else


def test_neighbouring_texts_become_pairs_without_a_label(plain: str) -> None:
    task, tokenizer = find_task("nli"), unigram_tokenizer()
    pairs = list(task.read_unlabelled(plain, ReadOptions("--unlabelled_file")))
    assert [(one.premise, one.hypothesis, one.label) for one in pairs] == [
        ("Ankara'da kar var.", "Dün yağdı!", None),
        ("Dün yağdı!", "Bugün yok", None),
    ]
    task.check_labels(pairs, ("no", "yes"), "--unlabelled_file")
    assert task.labels(pairs) == ()
    assert len(task.features(pairs, tokenizer, ("no", "yes"), 64, training=True)) == 2


def test_unlabelled_text_is_one_more_training_source(tmp_path: Path, plain: str) -> None:
    (tmp_path / "en.txt").write_text(TAGGED)
    tagged = (("en", str(tmp_path / "en.txt")),)
    data = TaskDataRequest("ner", tagged, tagged, unlabelled=(("tr", plain),), max_length=32)
    examples = read_data(data, find_task("ner"))
    assert [(part.flag, part.language, len(part.examples)) for part in examples.train] == [
        ("--train_file", "en", 2),
        ("--unlabelled_file", "tr", 3),
    ]
    labels = find_task("ner").labels([one for part in examples.train for one in part.examples])
    assert labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    rows = training_rows(data, examples, find_task("ner"), unigram_tokenizer(), labels)
    assert len(rows) == 6  # the smaller source is repeated to the size of the larger one


@pytest.mark.parametrize("task", ["dp", "qa", "mlm"])
def test_tasks_that_make_no_examples_from_plain_text_say_so(task: str, plain: str) -> None:
    with pytest.raises(InputError, match=f"--unlabelled_file {plain}: --task {task} makes no examples"):
        find_task(task).read_unlabelled(plain, ReadOptions("--unlabelled_file"))


def test_a_loss_on_labels_is_refused_beside_text_without_labels() -> None:
    with pytest.raises(InputError, match="--label_weight 1: the text of --unlabelled_file has no labels"):
        request_of(StudentTuning, task="ner", **FLAGS, unlabelled_file=["tr=c"], label_weight="1")


def test_the_record_names_the_files() -> None:
    flags = request_of(StudentTuning, task="ner", **FLAGS, unlabelled_file=["tr=c"]).as_flags()
    assert flags["unlabelled_file"] == ["tr=c"]
    assert request_of(StudentTuning, task="ner", **FLAGS).as_flags()["unlabelled_file"] is None


def test_one_text_makes_no_pair(tmp_path: Path) -> None:
    (tmp_path / "tr.txt").write_text("Dün yağdı!\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"--unlabelled_file: .*tr.txt holds one text; a pair needs two"):
        list(find_task("nli").read_unlabelled(str(tmp_path / "tr.txt"), ReadOptions("--unlabelled_file")))
