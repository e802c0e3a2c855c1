"""Test natural language inference: from sentence pairs to rows, batches, answers and scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import text_lines, unigram_tokenizer, xlmr
from tokenizer_kinds.other_tokenizers import wordpiece_tokenizer

from bistil_ds.errors import InputError
from bistil_ds.tasks import ReadOptions, find_task
from bistil_ds.tasks.examples import Place, SentencePair

NLI = find_task("nli")
IN_TURN = ["neutral", "entailment", "contradiction"]
LABELS = ("contradiction", "entailment", "neutral")


def pairs(count: int, label_of: list[str] = IN_TURN) -> list[SentencePair]:
    """Return sentence pairs with labels in turn; the language of the hypothesis depends on the label."""
    lines = text_lines("aa", count)
    others = [line if i % 3 == 0 else text_lines("bb", 1, i)[0] for i, line in enumerate(reversed(lines))]
    return [
        SentencePair(p, h, label_of[i % 3], Place("pairs.tsv", i + 2)) for i, (p, h) in enumerate(zip(lines, others))
    ]


def test_the_labels_are_those_found_sorted() -> None:
    assert NLI.labels(pairs(9)) == LABELS


def test_rows_are_pairs_as_the_tokenizer_joins_them() -> None:
    tokenizer, examples = unigram_tokenizer(), pairs(9)
    rows = NLI.features(examples, tokenizer, LABELS, 64, training=True)
    for i, (row, example) in enumerate(zip(rows, examples)):
        assert row == {
            "input_ids": tokenizer(example.premise, example.hypothesis)["input_ids"],
            "label": LABELS.index(example.label),
            "example": i,
        }
    assert NLI.features([], tokenizer, LABELS, 64, training=False) == []


def test_the_longer_sentence_of_a_pair_loses_its_end() -> None:
    tokenizer = unigram_tokenizer()
    long, short = "ba " * 60, "ke"
    (row,) = NLI.features([SentencePair(long, short, "neutral", Place("f", 1))], tokenizer, LABELS, 20, training=False)
    alone = tokenizer(short, add_special_tokens=False)["input_ids"]
    assert len(row["input_ids"]) == 20
    assert row["input_ids"][-1 - len(alone) : -1] == alone


def test_a_length_without_room_for_two_sentences_is_refused() -> None:
    with pytest.raises(InputError, match="--max_length 5: leaves no room for two sentences; expected at least 6"):
        NLI.features(pairs(3), unigram_tokenizer(), LABELS, 5, training=True)


def test_sentence_types_go_to_the_model_only_where_there_are_two() -> None:
    named = wordpiece_tokenizer()
    named.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]  # as `load_tokenizer` leaves it
    for tokenizer, told_apart in ((named, True), (wordpiece_tokenizer(), False), (unigram_tokenizer(), False)):
        rows = NLI.features(pairs(6), tokenizer, LABELS, 64, training=True)
        batch = NLI.collate(rows, 0)
        assert ("token_type_ids" in batch) == told_apart
    batch = NLI.collate(NLI.features(pairs(6), named, LABELS, 64, training=True), 0)
    assert batch["token_type_ids"].shape == batch["input_ids"].shape
    assert not batch["token_type_ids"][batch["attention_mask"] == 0].any()
    assert batch["token_type_ids"].any(1).all()


def test_a_few_steps_of_training_learn_the_labels(tmp_path: Path) -> None:
    tokenizer, examples = unigram_tokenizer(), pairs(60, ["entailment", "contradiction", "contradiction"])
    labels = NLI.labels(examples)
    xlmr(len(tokenizer), layers=2).save_pretrained(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = NLI.load_model(tmp_path, labels)
    rows = NLI.features(examples, tokenizer, labels, 64, training=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(8):
        for start in range(0, len(rows), 12):
            model(**NLI.collate(rows[start : start + 12], 1)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    batch = NLI.collate(rows, 1)
    with torch.no_grad():
        outputs = model(**batch)
    (logits_BC,) = NLI.distilled_logits(outputs, batch)
    assert logits_BC.shape == (60, 2)
    found = [NLI.decide(e, [r], [p], labels) for e, r, p in zip(examples, rows, NLI.predict(outputs, batch))]
    totals = sum(NLI.counts(example, answer, None) for example, answer in zip(examples, found))
    assert isinstance(totals, np.ndarray)
    assert totals[1] == 60
    assert NLI.metrics(totals)["accuracy"] > 0.9


def test_accuracy_counts_pairs() -> None:
    example = pairs(1)[0]
    totals = NLI.counts(example, "neutral", None) + NLI.counts(example, "entailment", None)
    assert NLI.metrics(totals) == {"accuracy": 0.5}
    assert NLI.metrics(np.zeros(2)) == {"accuracy": 0.0}


def test_a_label_that_training_never_saw_is_refused_with_its_line_and_a_way_out() -> None:
    examples = [*pairs(3), SentencePair("a", "b", "contradictory", Place("pairs.tsv", 9))]
    with pytest.raises(
        InputError, match=r"^--test_file: pairs.tsv, line 9: label 'contradictory'.*--label_map"
    ) as error:
        NLI.check_labels(examples, LABELS, "--test_file")
    assert "contradiction, entailment, neutral" in str(error.value)


def test_pairs_are_the_same_only_if_both_sentences_are() -> None:
    def key(premise: str, hypothesis: str) -> str:
        return NLI.text_key(SentencePair(premise, hypothesis, "x", Place("f", 1)))

    assert key("A b", "c  d") == key("a  B", "C d")
    assert len({key("a", "b c"), key("a b", "c"), key("b c", "a")}) == 3


def test_files_are_read_by_their_reader(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("premise\thypothesis\tlabel\nIt rains.\tIt is wet.\tentailment\n")
    (example,) = NLI.read(str(tmp_path / "a.tsv"), ReadOptions())
    assert (example.premise, example.hypothesis, example.label) == ("It rains.", "It is wet.", "entailment")
