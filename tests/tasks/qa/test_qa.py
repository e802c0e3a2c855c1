"""Test question answering as a task: rows, batches, answers and scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import text_lines, unigram_tokenizer, xlmr
from transformers import AutoModelForQuestionAnswering, PreTrainedTokenizerFast
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from bistil_ds.errors import InputError, Notice
from bistil_ds.tasks import ReadOptions, find_task
from bistil_ds.tasks.data import make_rows
from bistil_ds.tasks.examples import NOWHERE, Place, Question

QA = find_task("qa")


def questions() -> list[Question]:
    """Return questions that name the first word of a line; the answer is the word after it."""
    found = []
    for number, line in enumerate(text_lines("aa", 8, seed=3)):
        words = line.rstrip(".").split()
        begin = len(words[0]) + 1
        found.append(Question(str(number), words[0], line, ((words[1], begin),), Place("a.json", number)))
    return found


def sure_of_none(labels: tuple[str, ...], asked: list[Question], tokenizer: PreTrainedTokenizerFast) -> str:
    """Return the answer to the first question by a model that is sure that it has none."""
    row = QA.features(asked, tokenizer, labels, 64, training=False)[0]
    return QA.decide(asked[0], [row], [([9.0] + [0.0] * (len(row["input_ids"]) - 1),) * 2], labels)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return unigram_tokenizer()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    folder = tmp_path_factory.mktemp("mlm")
    xlmr(len(tokenizer), layers=2).save_pretrained(folder)
    return folder


def test_it_is_found_by_name_with_the_published_settings() -> None:
    assert (QA.metric, QA.full_epochs, QA.sparse_epochs, QA.learning_rate) == ("f1", 2, 2, 3e-5)


def test_it_reads_squad_json(tmp_path: Path) -> None:
    asked = {"id": "1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}
    file = {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": "Ada did.", "qas": [asked]}]}]}
    (tmp_path / "a.json").write_text(json.dumps(file))
    (read,) = QA.read(str(tmp_path / "a.json"), ReadOptions())
    assert (read.question, read.context, read.answers) == ("Who?", "Ada did.", (("Ada", 0),))


def test_a_label_map_is_refused() -> None:
    with pytest.raises(InputError, match="--label_map A=B: the examples of qa have no labels"):
        QA.read("a.json", ReadOptions(label_map={"A": "B"}))


def test_only_a_model_that_saw_questions_without_answer_gives_none(tokenizer: PreTrainedTokenizerFast) -> None:
    answered = questions()
    unanswered = Question("u", "ba", "ba ke", (), Place("a.json", 9))
    assert sure_of_none(QA.labels(answered), [unanswered], tokenizer) != ""
    assert sure_of_none(QA.labels([*answered, unanswered]), [unanswered], tokenizer) == ""


def test_a_model_with_labels_of_its_own_may_give_none_on_data_with_such_questions(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    one, unanswered = questions()[0], Question("u", "ba", "ba ke", (), Place("a.json", 9))
    assert sure_of_none(("LABEL_0", "LABEL_1"), [one], tokenizer) != ""
    assert sure_of_none(("LABEL_0", "LABEL_1"), [one, unanswered], tokenizer) == ""


def test_questions_without_answer_are_counted_where_the_model_always_gives_one(
    recwarn: pytest.WarningsRecorder,
) -> None:
    answered, unanswered = questions(), Question("u", "ba", "ba ke", (), Place("a.json", 9))
    mixed = [*answered, unanswered]
    QA.check_labels(answered, QA.labels(answered), "--test_file")
    QA.check_labels(mixed, QA.labels(mixed), "--test_file")
    QA.check_labels(mixed, ("LABEL_0", "LABEL_1"), "--test_file")
    assert not recwarn
    with pytest.warns(Notice, match="^--test_file: 1 of 9 questions have no answer, and the model always gives one"):
        QA.check_labels(mixed, QA.labels(answered), "--test_file")


@pytest.mark.parametrize("name", ["my_data", "faq", "xquad"])
def test_a_set_whose_name_is_no_language_is_told_by_which_rules_it_is_scored(name: str) -> None:
    with pytest.warns(Notice, match=f"^--test_file: {name} names no language, .* the rules of English"):
        QA.check_language(name, "--test_file")


def test_nothing_is_told_of_a_language_that_is_known(recwarn: pytest.WarningsRecorder) -> None:
    for name in ("de", "jp", "quy", "pt_br", "quc-Latn", None):
        QA.check_language(name, "--test_file")
    assert not recwarn


def test_questions_that_training_leaves_out_are_counted(tokenizer: PreTrainedTokenizerFast) -> None:
    asked, lost = questions(), Question("u", "ba", "ba ke", (("lo", NOWHERE),), Place("a.json", 9))
    with pytest.warns(Notice, match=r"^--train_file a\.json: left out 1 of 9 questions, whose answers have no place"):
        assert len(make_rows(QA, [*asked, lost], tokenizer, (), 64, source="--train_file a.json", training=True)) == 8
    with pytest.raises(
        InputError, match=r"^--train_file a\.json: left out 1 of 1 questions, whose answers have no place"
    ):
        make_rows(QA, [lost], tokenizer, (), 64, source="--train_file a.json", training=True)


def test_windows_are_no_longer_than_the_model_takes(tokenizer: PreTrainedTokenizerFast) -> None:
    long = Question("1", "ba", " ".join(text_lines("aa", 30)), (), Place("a.json", 1))
    rows = QA.features([long], tokenizer, (), 384, training=False)
    assert max(len(row["input_ids"]) for row in rows) == tokenizer.model_max_length == 64


def test_distilled_logits_leave_padding_out() -> None:
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    output = QuestionAnsweringModelOutput(start_logits=torch.ones(2, 3), end_logits=torch.zeros(2, 3))
    start, end = QA.distilled_logits(output, {"attention_mask": mask})
    assert start.tolist() == [[1, 1, 1], [1, 1, -1e4]]
    assert end.tolist() == [[0, 0, 0], [0, 0, -1e4]]


def test_scores_are_means_over_questions_in_their_language() -> None:
    question = Question("1", "?", "die Katze", (("die Katze", 0),), Place("a.json", 1))
    totals = QA.counts(question, "Katze", "de") + QA.counts(question, "Hund", "de")
    assert QA.metrics(totals) == {"f1": 0.5, "exact_match": 0.5}
    assert QA.metrics(np.zeros(3)) == {"f1": 0.0, "exact_match": 0.0}


def test_the_saved_model_loads_by_the_auto_class_and_keeps_its_head(folder: Path, tmp_path: Path) -> None:
    labels = QA.labels(questions())
    model = QA.load_model(folder, labels)
    model.save_pretrained(tmp_path)
    for again in (QA.load_model(tmp_path, labels), AutoModelForQuestionAnswering.from_pretrained(tmp_path)):
        assert torch.equal(again.qa_outputs.weight, model.qa_outputs.weight)
        assert tuple(again.config.id2label.values()) == labels


def test_a_small_model_learns_its_training_questions(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    asked = questions()
    labels = QA.labels(asked)
    model = QA.load_model(folder, labels).train()
    batch = QA.collate(QA.features(asked, tokenizer, labels, 64, training=True), pad_token_id=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    rows = QA.features(asked, tokenizer, labels, 64, training=False)
    with torch.no_grad():
        predictions = QA.predict(model.eval()(**batch), batch)
    answers = [QA.decide(q, [r], [p], labels) for q, r, p in zip(asked, rows, predictions, strict=True)]
    totals = sum(QA.counts(*pair, "en") for pair in zip(asked, answers, strict=True))
    assert QA.metrics(totals)["f1"] > 0.9
