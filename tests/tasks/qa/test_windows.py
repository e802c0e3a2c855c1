"""Test how questions and contexts become windows, and how the scores of windows become one answer."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import text_lines, unigram_tokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import NOWHERE, Place, Question
from bistil_ds.tasks.qa.windows import OVERLAP, best_answer, windows
from bistil_ds.tasks.task import Row

WORDS = text_lines("aa", 60)
CONTEXT = " ".join(WORDS)


@pytest.fixture(scope="module")
def unigram() -> PreTrainedTokenizerFast:
    return unigram_tokenizer()


@pytest.fixture(scope="module")
def wordpiece() -> BertTokenizerFast:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz.?"]
    pieces += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return BertTokenizerFast(tokenizer_object=tokenizer)


def ask(context: str, answer: str | None, question: str = "ba ke lo?") -> Question:
    answers = () if answer is None else ((answer, context.index(answer)),)
    return Question("q", question, context, answers, Place("a.json", 1))


def rows_of(question: Question, tokenizer: PreTrainedTokenizerFast, length: int, training: bool = False) -> list[Row]:
    return list(windows([question], tokenizer, length, training=training))


def text_of(context: str, row: Row, start: int, end: int) -> str:
    first, last = row["characters"][start - row["context"]], row["characters"][end - row["context"]]
    return context[first[0] : last[1]].strip()


def test_one_window_is_what_the_tokenizer_makes_of_the_pair(unigram, wordpiece) -> None:  # type: ignore[no-untyped-def]
    for tokenizer in (unigram, wordpiece):
        question = ask(WORDS[0], WORDS[0].split()[2])
        (row,) = rows_of(question, tokenizer, 200)
        pair = tokenizer(question.question, question.context)
        assert row["input_ids"] == pair["input_ids"]
        assert text_of(question.context, row, row["start_positions"], row["end_positions"]) == question.answers[0][0]
    assert row["token_type_ids"] == pair["token_type_ids"]
    assert "token_type_ids" not in rows_of(question, unigram, 200)[0]  # this tokenizer gives every token the same type


@pytest.mark.parametrize("length", [16, 40, 200, 384])
def test_windows_cover_the_context_overlap_and_fit(unigram: PreTrainedTokenizerFast, length: int) -> None:
    rows = rows_of(ask(CONTEXT, None), unigram, length)
    whole = unigram(CONTEXT, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    assert max(len(row["input_ids"]) for row in rows) <= length
    found = [[tuple(pair) for pair in row["characters"]] for row in rows]
    begins = [whole.index(part[0]) for part in found]
    assert begins[0] == 0
    assert begins == sorted(set(begins))
    for part, begin in zip(found, begins, strict=True):
        assert part == whole[begin : begin + len(part)]
    room = len(found[0])
    for (one, begin), following in zip(zip(found, begins), begins[1:]):
        assert begin + len(one) - following == min(OVERLAP, room // 2)
    assert begins[-1] + len(found[-1]) == len(whole)


def test_only_windows_that_hold_the_whole_answer_point_at_it(unigram: PreTrainedTokenizerFast) -> None:
    answer = WORDS[30]
    rows = rows_of(ask(CONTEXT, answer), unigram, 120)
    pointing = [row for row in rows if row["start_positions"]]
    assert 0 < len(pointing) < len(rows)
    for row in pointing:
        assert text_of(CONTEXT, row, row["start_positions"], row["end_positions"]) == answer
    assert all(row["end_positions"] == 0 for row in rows if not row["start_positions"])


def test_a_question_too_long_leaves_half_of_the_window_to_the_context(unigram: PreTrainedTokenizerFast) -> None:
    rows = rows_of(ask(CONTEXT, None, question=CONTEXT), unigram, 44)
    assert {row["context"] for row in rows} == {1 + 20 + 2}
    assert max(len(row["input_ids"]) for row in rows) == 44


def test_a_length_without_room_is_refused(unigram: PreTrainedTokenizerFast) -> None:
    question = ask(CONTEXT, None)
    with pytest.raises(InputError, match=r"--max_length 5: .* question and its context; expected at least 6"):
        rows_of(question, unigram, 5)
    assert rows_of(question, unigram, 6)


def test_training_rows_carry_no_offsets_and_every_row_its_question(unigram: PreTrainedTokenizerFast) -> None:
    questions = [ask(WORDS[0], None), ask(WORDS[1], WORDS[1].split()[0])]
    rows = list(windows(questions, unigram, 60, training=True))
    assert [row["example"] for row in rows] == [0, 1]
    assert set(rows[0]) == {"input_ids", "start_positions", "end_positions", "example"}


def test_training_learns_the_first_answer_that_has_a_place(unigram: PreTrainedTokenizerFast) -> None:
    text, begin = ask(WORDS[0], WORDS[0].split()[2]).answers[0]
    placed, lost = (Question("q", "?", WORDS[0], a, Place("a.json", 1)) for a in (((text, begin),), ((text, NOWHERE),)))
    both = Question("q", "?", WORDS[0], (*lost.answers, *placed.answers), Place("a.json", 1))
    assert rows_of(both, unigram, 60, training=True) == rows_of(placed, unigram, 60, training=True)
    assert rows_of(lost, unigram, 60, training=True) == []
    assert len(rows_of(lost, unigram, 60)) == 1


def logits(row: Row, *spans: tuple[int, int, float], none: float = -50.0) -> tuple[list[float], list[float]]:
    """Return start and end logits of a window; each span (first token, last token, sum) gets that sum."""
    start, end = (np.full(len(row["input_ids"]), -20.0) for _ in range(2))
    start[0] = end[0] = none / 2
    for first, last, score in spans:
        start[row["context"] + first] = end[row["context"] + last] = score / 2
    return start.tolist(), end.tolist()


def test_the_best_span_of_all_windows_is_the_answer(unigram: PreTrainedTokenizerFast) -> None:
    rows = rows_of(ask(CONTEXT, None), unigram, 60)
    scores = [logits(row) for row in rows]
    scores[2] = logits(rows[2], (3, 6, 8.0))
    scores[4] = logits(rows[4], (1, 2, 9.0))
    begin, end = rows[4]["characters"][1][0], rows[4]["characters"][2][1]
    assert best_answer(CONTEXT, rows, scores, may_be_none=False) == CONTEXT[begin:end].strip()


# For each span that is no answer, its first and last token, and the answer: with a token of the span it would make
# another span that is no answer. Numbers from 100 count the tokens of the context.
SPANS = {
    "in the question": ((1, 2), (105, 108)),
    "from the question to the last special token": ((1, -1), (105, 108)),
    "backward": ((139, 100), (105, 108)),
    "of 31 tokens": ((102, 132), (100, 101)),
    "of 41 tokens": ((100, 140), (110, 130)),
}


@pytest.mark.parametrize("name", SPANS)
def test_spans_that_are_no_answers_are_passed_over(unigram: PreTrainedTokenizerFast, name: str) -> None:
    (row,) = rows_of(ask(CONTEXT[:200], None), unigram, 384)
    assert len(row["characters"]) > 41
    start, end = logits(row)
    for (first, last), logit in zip(SPANS[name], (15.0, 1.0)):
        start[first if first < 100 else first - 100 + row["context"]] = logit
        end[last if last < 100 else last - 100 + row["context"]] = logit
    first, last = SPANS[name][1]
    answer = CONTEXT[row["characters"][first - 100][0] : row["characters"][last - 100][1]].strip()
    assert best_answer(CONTEXT[:200], [row], [(start, end)], may_be_none=False) == answer


def test_a_span_of_30_tokens_is_an_answer(unigram: PreTrainedTokenizerFast) -> None:
    (row,) = rows_of(ask(CONTEXT[:200], None), unigram, 384)
    answer = CONTEXT[row["characters"][3][0] : row["characters"][32][1]].strip()
    found = best_answer(CONTEXT[:200], [row], [logits(row, (5, 8, 2.0), (3, 32, 3.0))], may_be_none=False)
    assert found == answer


def test_none_is_the_answer_where_it_may_be_and_every_window_prefers_it(unigram: PreTrainedTokenizerFast) -> None:
    rows = rows_of(ask(CONTEXT, None), unigram, 60)
    unsure = [logits(row, (1, 1, 3.0), none=5.0) for row in rows]
    assert best_answer(CONTEXT, rows, unsure, may_be_none=True) == ""
    assert best_answer(CONTEXT, rows, unsure, may_be_none=False) != ""
    one_is_sure = [logits(rows[0], (1, 1, 3.0), none=-5.0), *unsure[1:]]
    assert best_answer(CONTEXT, rows, one_is_sure, may_be_none=True) != ""


def test_spans_without_text_are_passed_over(unigram: PreTrainedTokenizerFast) -> None:
    row = {"input_ids": [0, 9, 2, 2, 7, 8, 2], "context": 4, "characters": [[0, 1], [1, 4]]}
    assert best_answer(" abc", [row], [logits(row, (0, 0, 9.0), (1, 1, 5.0))], may_be_none=False) == "abc"
