"""Natural language inference: decide how a hypothesis relates to a premise; scored by accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from transformers import PreTrainedTokenizerBase

from bistil_ds.errors import InputError
from bistil_ds.models.inputs import TOKEN_TYPES
from bistil_ds.tasks.classification import Classification
from bistil_ds.tasks.examples import SentencePair
from bistil_ds.tasks.readers import read_pairs, read_texts
from bistil_ds.tasks.readers.lines import at_least_one
from bistil_ds.tasks.task import ReadOptions, Row
from bistil_ds.tasks.text_key import text_key


class Inference(Classification):
    """Inference: one label for each pair of sentences.

    A pair that is too long loses tokens at the end of its longer sentence until it fits or both are equally long; after
    that, at the end of both.
    """

    name = "nli"
    full_epochs = 5
    sparse_epochs = 5
    learning_rate = 2e-5

    def read(self, source: str, options: ReadOptions) -> Iterator[SentencePair]:
        return read_pairs(source, options)

    def read_unlabelled(self, source: str, options: ReadOptions) -> Iterator[SentencePair]:
        """Stream pairs without labels: each text of the source, and the one after it.

        Raises:
            InputError: the source cannot be read, or holds fewer than two texts.
        """
        neighbours = pairwise(read_texts(source, options))
        pairs = (SentencePair(one.text, other.text, None, one.place) for one, other in neighbours)
        yield from at_least_one(pairs, f"{options.flag}: {source} holds one text; a pair needs two")

    def features(
        self,
        examples: Sequence[SentencePair],
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        max_length: int,
        *,
        training: bool,
    ) -> list[Row]:
        """Return rows with `input_ids`, `label`, `example`, and `token_type_ids` if the model tells sentences apart.

        A pair without a label has label 0, which nothing may learn from.

        Raises:
            InputError: `max_length` leaves no room for a token of each sentence.
        """
        if not examples:
            return []
        fewest = tokenizer.num_special_tokens_to_add(pair=True) + 2
        if max_length < fewest:
            raise InputError(f"--max_length {max_length}: leaves no room for two sentences; expected at least {fewest}")
        number = {label: i for i, label in enumerate(labels)}
        encoded = tokenizer(
            [example.premise for example in examples],
            [example.hypothesis for example in examples],
            truncation="longest_first",
            max_length=max_length,
            return_token_type_ids=True,
        )
        rows: list[Row] = [
            {"input_ids": ids, "label": 0 if example.label is None else number[example.label], "example": i}
            for i, (example, ids) in enumerate(zip(examples, encoded["input_ids"]))
        ]
        for row, types in zip(rows, encoded["token_type_ids"]):
            if any(types) and TOKEN_TYPES in tokenizer.model_input_names:  # else the model knows at most type 0
                row[TOKEN_TYPES] = types
        return rows

    def text_key(self, example: SentencePair) -> str:
        """Return the keys of premise and hypothesis, joined by a tab."""
        return f"{text_key(example.premise)}\t{text_key(example.hypothesis)}"
