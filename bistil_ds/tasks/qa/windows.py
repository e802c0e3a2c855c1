"""Cut a question and its context into windows that fit a model, and find the answer in the windows' scores.

Shapes: T tokens of a window, C tokens of a context or of the part of a context in a window, L lengths of an answer.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from bistil_ds.errors import InputError
from bistil_ds.models.inputs import TOKEN_TYPES
from bistil_ds.tasks.examples import NOWHERE, Question
from bistil_ds.tasks.task import Row

OVERLAP = 128  # tokens of context that neighbouring windows share
LONGEST_ANSWER = 30  # tokens
CANDIDATES = 20  # number of best spans of each window that are considered as answers


class _Frame(NamedTuple):
    """The special tokens around question and context, and the token types of a window.

    `types` has the token types of the five parts of a window: `before`, question, `between`, context, `after`. None
    means that the model takes one token type at most.
    """

    before: list[int]
    between: list[int]
    after: list[int]
    types: tuple[list[int], int, list[int], int, list[int]] | None


def windows(
    questions: Sequence[Question], tokenizer: PreTrainedTokenizerBase, max_length: int, *, training: bool
) -> Iterator[Row]:
    """Yield rows of at most `max_length` tokens that together cover the whole context of each question.

    A row holds:
        `input_ids`, and `example`, the index of its question.
        `start_positions` and `end_positions`: the positions in the row of the first and last token of the first answer
            with a place; both are 0 if the window does not hold the whole answer.
        `token_type_ids`, if the model takes them and they tell question and context apart.
        `context` and `characters`, except in training: the position in the row of the first context token; and for each
            context token (begin, end), counted in characters of the whole context.

    A question may take half of a window, special tokens not counted; a longer question is cut to that. In training, a
    question is left out if its answers have no place, or if the first one with a place has no token.

    Raises:
        InputError: `max_length` leaves no room for a question and its context.
    """
    frame = _frame(tokenizer)
    special = len(frame.before) + len(frame.between) + len(frame.after)
    if (usable := max_length - special) < 2:
        raise InputError(
            f"--max_length {max_length}: leaves no room for a question and its context; expected at least {special + 2}"
        )

    @lru_cache(maxsize=1)  # questions on the same context follow each other
    def context_pieces(context: str) -> tuple[list[int], np.ndarray]:
        encoded = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return encoded["input_ids"], np.array(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)

    for number, question in enumerate(questions):
        asked = tokenizer(question.question, add_special_tokens=False, verbose=False)["input_ids"][: usable // 2]
        pieces, characters_C2 = context_pieces(question.context)
        first, last = _answer_tokens(question, characters_C2)
        if training and question.answers and first < 0:
            continue  # the answer has no place or no token
        room, offset = usable - len(asked), len(frame.before) + len(asked) + len(frame.between)
        for begin, end in _spans(len(pieces), room):
            inside = begin <= first and last < end
            row: Row = {
                "input_ids": frame.before + asked + frame.between + pieces[begin:end] + frame.after,
                "start_positions": first - begin + offset if inside else 0,
                "end_positions": last - begin + offset if inside else 0,
                "example": number,
            }
            if frame.types:
                before, question_type, between, context_type, after = frame.types
                types = before + [question_type] * len(asked) + between + [context_type] * (end - begin) + after
                row["token_type_ids"] = types
            if not training:
                row |= {"context": offset, "characters": characters_C2[begin:end].tolist()}
            yield row


def best_answer(
    context: str, rows: Sequence[Row], logits: Iterable[tuple[Sequence[float], Sequence[float]]], *, may_be_none: bool
) -> str:
    """Return the text of the span whose start and end logits have the highest sum among all windows.

    Args:
        context: the text from which the answer is cut.
        rows: the windows of a question, made with `training=False`.
        logits: for each window, the start and end logits of its T tokens.
        may_be_none: whether "" (no answer) may be returned. A window's score for no answer is the sum of the two logits
            at its first token. "" is returned if the lowest of these scores is higher than the score of every span.
    """
    found: list[tuple[float, str]] = []
    none = np.inf
    for row, (start, end) in zip(rows, logits, strict=True):
        start_T, end_T = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
        none = min(none, start_T[0] + end_T[0])
        part = slice(row["context"], row["context"] + len(row["characters"]))
        for score, first, last in _best_spans(start_T[part], end_T[part]):
            if text := context[row["characters"][first][0] : row["characters"][last][1]].strip():
                found.append((score, text))
                break
    best, text = max(found, key=lambda pair: pair[0], default=(-np.inf, ""))
    return "" if may_be_none and none > best else text


def _best_spans(start_C: np.ndarray, end_C: np.ndarray) -> Iterator[tuple[float, int, int]]:
    """Yield (score, first token, last token) of the best spans, best first; of equal scores, the earlier span first."""
    tokens = len(start_C)
    if not tokens:
        return
    lengths = min(LONGEST_ANSWER, tokens)
    padded = np.concatenate([end_C, np.full(lengths, -np.inf)])
    scores_CL = start_C[:, None] + np.lib.stride_tricks.sliding_window_view(padded, lengths)[:tokens]
    flat = scores_CL.ravel()
    top = np.argpartition(-flat, min(CANDIDATES, flat.size) - 1)[:CANDIDATES]
    for index in sorted(top.tolist(), key=lambda i: (-flat[i], i)):
        if np.isfinite(flat[index]):
            first, more = divmod(index, lengths)
            yield float(flat[index]), first, first + more


def _answer_tokens(question: Question, characters_C2: np.ndarray) -> tuple[int, int]:
    """Return the first and last context token of the first answer with a place; (-1, -1) if there are none."""
    text, begin = next((one for one in question.answers if one[1] != NOWHERE), ("", 0))
    touched = np.flatnonzero((characters_C2[:, 1] > begin) & (characters_C2[:, 0] < begin + len(text)))
    return (int(touched[0]), int(touched[-1])) if len(touched) else (-1, -1)


def _spans(tokens: int, room: int) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of windows of `room` tokens that overlap by `OVERLAP` tokens, or by half of `room` if less."""
    step, begin = room - min(OVERLAP, room // 2), 0
    while begin + room < tokens:
        yield begin, begin + room
        begin += step
    yield begin, tokens


def _frame(tokenizer: PreTrainedTokenizerBase) -> _Frame:
    """Encode a pair of short texts, to find out how the tokenizer joins two sequences."""
    one, two = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a", "b")]
    pair = tokenizer("a", "b", return_token_type_ids=True)
    whole, types = pair["input_ids"], pair["token_type_ids"]
    a = next(i for i in range(len(whole)) if whole[i : i + len(one)] == one)
    b = next(i for i in range(a + len(one), len(whole)) if whole[i : i + len(two)] == two)
    parts = slice(a), slice(a + len(one), b), slice(b + len(two), None)
    before, between, after = (types[part] for part in parts)
    told_apart = any(types) and TOKEN_TYPES in tokenizer.model_input_names  # else the model takes one type at most
    special = [whole[part] for part in parts]
    token_types = (before, types[a], between, types[b], after) if told_apart else None
    return _Frame(special[0], special[1], special[2], token_types)


def as_numbers(logits_T: np.ndarray) -> array[float]:
    """Return a window's logits as an array of fp32 numbers, which takes an eighth of the memory of a list."""
    return array("f", logits_T.astype(np.float32).tobytes())
