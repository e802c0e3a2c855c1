"""Test tagging tasks: from tagged sentences to rows, batches, answers and scores."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from seqeval.metrics import f1_score, precision_score, recall_score
from tiny import text_lines, unigram_tokenizer, xlmr
from tokenizer_kinds.other_tokenizers import wordpiece_tokenizer
from transformers import PreTrainedTokenizerFast

from bistil_ds.errors import InputError, Notice
from bistil_ds.models.head import IGNORED
from bistil_ds.tasks import ReadOptions, Task, find_task
from bistil_ds.tasks.data import TaskData
from bistil_ds.tasks.examples import Place, TaggedSentence

TAGS = ["O", "O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def tagged(lines: int, tags: list[str], seed: int = 0) -> list[TaggedSentence]:
    """Return sentences with random tags."""
    draw = random.Random(seed)
    found = []
    for number, line in enumerate(text_lines("aa", lines, seed), start=1):
        words = tuple(line.split())
        found.append(TaggedSentence(words, tuple(draw.choices(tags, k=len(words))), Place("some.file", number)))
    return found


@pytest.fixture(scope="module", params=["ner", "pos"])
def task(request: pytest.FixtureRequest) -> Task:
    return find_task(request.param)


@pytest.fixture(scope="module", params=[unigram_tokenizer, wordpiece_tokenizer], ids=["xlm-r", "bert"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return request.param()


def answers(task: Task, data: TaskData, labels: tuple[str, ...], logits_of_row: list[torch.Tensor]) -> list[list[str]]:
    """Return the task's answers when row i gets the logits `logits_of_row[i]` [T, C]."""
    found: list[list[str]] = []
    for i, example in enumerate(data.examples):
        numbers = [n for n, row in enumerate(data.rows) if row["example"] == i]
        predictions = []
        for n in numbers:
            batch = task.collate([data.rows[n]], 1)
            predictions += task.predict(Outputs(logits_of_row[n][None]), batch)
        found.append(task.decide(example, [data.rows[n] for n in numbers], predictions, labels))
    return found


class Outputs:
    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits


@pytest.mark.parametrize("length", [8, 64])
def test_a_model_that_is_always_right_scores_1_however_short_the_windows(
    task: Task, tokenizer: PreTrainedTokenizerFast, length: int
) -> None:
    examples = tagged(30, TAGS)
    labels = task.labels(examples)
    rows = task.features(examples, tokenizer, labels, length, training=False)
    assert (len(rows) > len(examples)) == (length == 8)
    assert max(len(row["input_ids"]) for row in rows) <= length
    perfect = [torch.nn.functional.one_hot(torch.tensor(row["labels"]).clamp(min=0), len(labels)) for row in rows]
    found = answers(task, TaskData(task, None, "", examples, rows), labels, perfect)
    assert found == [list(example.tags) for example in examples]
    totals = sum(task.counts(example, answer, "en") for example, answer in zip(examples, found))
    assert isinstance(totals, np.ndarray)
    assert set(task.metrics(totals).values()) == {1.0}


def test_training_cuts_where_evaluation_makes_windows(task: Task, tokenizer: PreTrainedTokenizerFast) -> None:
    examples = tagged(30, TAGS)
    labels = task.labels(examples)
    rows = task.features(examples, tokenizer, labels, 8, training=True)
    assert [row["example"] for row in rows] == list(range(30))
    for row, example in zip(rows, examples):
        learned = [labels[number] for number in row["labels"] if number != -100]
        assert learned == list(example.tags[: len(learned)])
        assert learned
        assert len(row["labels"]) == len(row["input_ids"])


def test_a_batch_is_padded_and_only_first_subwords_are_labelled(task: Task) -> None:
    tokenizer = unigram_tokenizer()
    examples = tagged(6, TAGS)
    labels = task.labels(examples)
    rows = task.features(examples, tokenizer, labels, 64, training=True)
    batch = task.collate(rows, 1)
    lengths = [len(row["input_ids"]) for row in rows]
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == dict.fromkeys(
        ("input_ids", "attention_mask", "labels"), ((6, max(lengths)), torch.int64)
    )
    assert batch["attention_mask"].sum(1).tolist() == lengths
    assert (batch["input_ids"] == 1).sum(1).tolist() == [max(lengths) - n for n in lengths]
    assert (batch["labels"] != -100).sum(1).tolist() == [len(example.words) for example in examples]


def test_a_model_takes_the_batch_and_its_distilled_logits_are_those_of_the_words(task: Task, tmp_path: Path) -> None:
    tokenizer = unigram_tokenizer()
    xlmr(len(tokenizer)).save_pretrained(tmp_path)
    examples = tagged(5, TAGS)
    labels = task.labels(examples)
    with torch.random.fork_rng():
        model = task.load_model(tmp_path, labels)
    batch = task.collate(task.features(examples, tokenizer, labels, 64, training=True), 1)
    outputs = model(**batch)
    (logits_NC,) = task.distilled_logits(outputs, batch)
    assert logits_NC.shape == (sum(len(example.words) for example in examples), len(labels))
    gold_N = torch.tensor([labels.index(tag) for example in examples for tag in example.tags])
    assert torch.allclose(torch.nn.functional.cross_entropy(logits_NC, gold_N), outputs.loss)


def test_a_few_steps_of_training_learn_the_tag_of_each_word(task: Task, tmp_path: Path) -> None:
    tokenizer = unigram_tokenizer()
    xlmr(len(tokenizer), layers=2).save_pretrained(tmp_path)
    kinds = ["O", "B-PER", "I-PER"]
    examples = [
        TaggedSentence(words, tuple(kinds[len(word) % 3] for word in words), Place("f", 1))
        for words in (tuple(line.split()) for line in text_lines("aa", 60))
    ]
    labels = task.labels(examples)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = task.load_model(tmp_path, labels)
    rows = task.features(examples, tokenizer, labels, 64, training=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(12):
        for start in range(0, len(rows), 12):
            model(**task.collate(rows[start : start + 12], 1)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    with torch.no_grad():
        batch = task.collate(rows, 1)
        predictions = task.predict(model(**batch), batch)
    found = [task.decide(e, [r], [p], labels) for e, r, p in zip(examples, rows, predictions)]
    right = sum(a == b for e, answer in zip(examples, found) for a, b in zip(e.tags, answer))
    assert right > 0.9 * sum(len(e.tags) for e in examples)


def test_a_tag_that_training_never_saw_is_refused_with_its_line_and_a_way_out(task: Task) -> None:
    examples = [
        TaggedSentence(("a",), ("O",), Place("t.txt", 3)),
        TaggedSentence(("b", "c"), ("O", "B-DATE"), Place("t.txt", 7)),
    ]
    task.check_labels(examples, ("O", "B-DATE"), "--test_file")
    with pytest.raises(InputError, match=r"^--test_file: t.txt, line 7: tag 'B-DATE' .* begins there .*B-PER.*DATE=O$"):
        task.check_labels(examples, ("O", "B-PER"), "--test_file")


def test_a_universal_tag_that_training_lacked_keeps_its_place_and_is_not_learned(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    pos = find_task("pos")
    labels = ("NOUN", "VERB")
    sentence = TaggedSentence(("bake", "lomi", "suta"), ("VERB", "SYM", "NOUN"), Place("t.txt", 3))
    with pytest.warns(Notice, match=r"^--test_file: training had no tag SYM \(1 words\): these words count as wrong"):
        pos.check_labels([sentence], labels, "--test_file")
    marks = {}
    for training in (False, True):
        (row,) = pos.features([sentence], tokenizer, labels, 64, training=training)
        marks[training] = [label for label in row["labels"] if label != IGNORED]
    assert marks == {False: [1, 0, 0], True: [1, 0]}
    assert pos.counts(sentence, ["VERB", "NOUN", "NOUN"], None).tolist() == [2, 3]
    with pytest.raises(InputError, match="tag 'VERB'"):  # the model has no universal tags: perhaps they are renamed
        pos.check_labels([sentence], ("LABEL_0", "LABEL_1"), "--test_file")


def test_the_labels_of_named_entities_have_both_tags_of_each_type() -> None:
    examples = [TaggedSentence(("a", "b", "c"), ("B-PER", "O", "B-LOC"), Place("f", 1))]
    assert find_task("ner").labels(examples) == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert find_task("pos").labels(examples) == ("B-LOC", "B-PER", "O")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.filterwarnings("ignore:.*ill-defined")
def test_entities_are_scored_as_by_seqeval_and_any_tag_sequence_may_be_predicted(seed: int) -> None:
    ner = find_task("ner")
    draw = random.Random(seed)
    tags = TAGS if seed else ["O"]  # with seed 0 there is no entity at all
    gold, found, totals = [], [], np.zeros(3)
    for _ in range(200):
        length = draw.randint(1, 9)
        gold.append(draw.choices(tags, k=length))
        found.append([tag if draw.random() < 0.8 else draw.choice(tags) for tag in gold[-1]])
        example = TaggedSentence(("w",) * length, tuple(gold[-1]), Place("f", 1))
        totals += ner.counts(example, found[-1], None)
    scores = ner.metrics(totals)
    assert scores["f1"] == pytest.approx(f1_score(gold, found), abs=1e-12)
    assert scores["precision"] == pytest.approx(precision_score(gold, found), abs=1e-12)
    assert scores["recall"] == pytest.approx(recall_score(gold, found), abs=1e-12)
    assert (0 < scores["f1"] < 1) == bool(seed)


@pytest.mark.parametrize(
    ("gold", "found", "expected"),
    [
        ("O O", "O O", [0, 0, 0]),
        ("B-A I-A O", "B-A I-A O", [1, 1, 1]),
        ("B-A I-A O", "B-A O O", [0, 1, 1]),
        ("B-A B-A", "B-A I-A", [0, 1, 2]),
        ("B-A I-A", "I-A I-A", [1, 1, 1]),
        ("B-A B-B I-B", "B-A I-B I-B", [2, 2, 2]),
        ("B-A O B-A", "I-A O I-B", [1, 2, 2]),
    ],
)
def test_an_entity_is_right_if_type_and_both_ends_are(gold: str, found: str, expected: list[int]) -> None:
    tags = tuple(gold.split())
    example = TaggedSentence(("w",) * len(tags), tags, Place("f", 1))
    assert find_task("ner").counts(example, found.split(), None).tolist() == expected


def test_accuracy_is_over_words_and_nothing_scores_0() -> None:
    pos = find_task("pos")
    example = TaggedSentence(("a", "b", "c"), ("X", "Y", "X"), Place("f", 1))
    assert pos.metrics(pos.counts(example, ["X", "X", "X"], None)) == {"accuracy": 2 / 3}
    assert pos.metrics(np.zeros(2)) == {"accuracy": 0.0}
    assert find_task("ner").metrics(np.zeros(3)) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}


def test_sentences_are_the_same_whatever_their_case_spaces_and_composition(task: Task) -> None:
    def key(*words: str) -> str:
        return task.text_key(TaggedSentence(words, ("O",) * len(words), Place("f", 1)))

    assert key("Straße", "e\u0301t\u00e9") == key("STRASSE", "\u00e9te\u0301")
    assert key("a  b", "c") == key("a", "b", " c")
    assert key("a", "b") != key("a", "c")


def test_files_are_read_by_their_readers(task: Task, tmp_path: Path) -> None:
    name, text = {
        "ner": ("a.txt", "Asha\tB-PER\nran\tO\n"),
        "pos": ("a.conllu", "1\tAsha\t_\tPROPN\t_\t_\t2\tnsubj\t_\t_\n2\tran\t_\tVERB\t_\t_\t0\troot\t_\t_\n\n"),
    }[task.name]
    (tmp_path / name).write_text(text)
    (example,) = task.read(str(tmp_path / name), ReadOptions())
    assert example.words == ("Asha", "ran")
    assert example.tags == (("B-PER", "O") if task.name == "ner" else ("PROPN", "VERB"))
