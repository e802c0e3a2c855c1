"""What part-of-speech tagging and named entity recognition share: a tag for each word, predicted at its first subword.

Shapes: B rows of a batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoModelForTokenClassification, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.models.head import IGNORED
from bistil_ds.tasks.examples import TaggedSentence
from bistil_ds.tasks.heads import check_class, load_classifier
from bistil_ds.tasks.labels import check_known, map_advice
from bistil_ds.tasks.padding import pad, pad_inputs
from bistil_ds.tasks.readers import read_texts
from bistil_ds.tasks.task import ReadOptions, Row, Task
from bistil_ds.tasks.text_key import text_key
from bistil_ds.tasks.words import align, windows, words_of


class Tagging(Task):
    """A task with one tag for each word.

    In training, a sentence of more than `max_length` tokens is cut, and nothing is learned from the words beyond the
    cut. In evaluation, such a sentence becomes overlapping windows, one row each. Every word gets its tag from the
    window in which the word is farthest from a cut.
    """

    full_epochs = 3  # published for named entities (BiStil, appendix), and used for parts of speech too
    sparse_epochs = 10
    learning_rate = 5e-5
    cuts_words = True
    universal: frozenset[str] = frozenset()  # tags that have these names in all data

    def names(self, examples: Sequence[TaggedSentence], labels: Sequence[str]) -> list[list[str | None]]:
        """Return for each example what a model with these labels calls its tags.

        A tag that the model does not know stays as it is. A name is None if the model knows the tag's type, but has no
        label for the tag.
        """
        return [list(example.tags) for example in examples]

    def check_labels(self, examples: Sequence[TaggedSentence], labels: Sequence[str], flag: str) -> None:
        named = zip(self.names(examples, labels), examples)
        found = ((name, example.place) for names, example in named for name in names if name is not None)

        def removal(tag: str) -> str:
            kind = tag[2:]
            return "" if kind in {label[2:] for label in labels} else map_advice(kind, "O")

        check_known(found, labels, flag, "tag", removal if "O" in labels else None, self.universal)

    def read_unlabelled(self, source: str, options: ReadOptions) -> Iterator[TaggedSentence]:
        """Stream the texts as sentences without tags, cut into words by `words_of`."""
        for text in read_texts(source, options):
            yield TaggedSentence(words_of(text.text), (), text.place)

    def features(
        self,
        examples: Sequence[TaggedSentence],
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        max_length: int,
        *,
        training: bool,
    ) -> list[Row]:
        """Return rows of `input_ids`, `labels` and `example`.

        `labels` has an entry for each token: the index of the tag at the first subword of a word that the row decides,
        and -100 everywhere else. The words of a sentence without tags have index 0, which marks where they stand. So
        have, in evaluation, words whose tag has no label; in training, nothing is learned from these.
        """
        number: dict[str | None, int] = {label: i for i, label in enumerate(labels)}
        words, names = [example.words for example in examples], self.names(examples, labels)
        rows = []
        if training:
            for i, (ids, first) in enumerate(align(words, tokenizer, max_length)):
                tags = [number.get(name, IGNORED) for name in names[i]]
                rows.append(_row(i, ids, first, tags or [0] * len(first)))
        else:
            for i, parts in enumerate(windows(words, tokenizer, max_length)):
                for ids, start, first in parts:
                    tags = [number.get(name, 0) for name in names[i][start : start + len(first)]]
                    rows.append(_row(i, ids, first, tags))
        return rows

    def check_model(self, config: PretrainedConfig) -> None:
        check_class(AutoModelForTokenClassification, config)

    def load_model(self, folder: str | Path, labels: Sequence[str], **kwargs: Any) -> PreTrainedModel:
        return load_classifier(AutoModelForTokenClassification, folder, labels, **kwargs)

    def collate(self, rows: Sequence[Row], pad_token_id: int) -> dict[str, Tensor]:
        return {**pad_inputs(rows, pad_token_id), "labels": pad([row["labels"] for row in rows], IGNORED)}

    def distilled_logits(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[Tensor]:
        return [outputs.logits[batch["labels"] != IGNORED]]

    def predict(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[list[int]]:
        """Return for each row the indices of the predicted tags of those words that the row decides."""
        best_BT, words_BT = outputs.logits.argmax(-1).cpu(), (batch["labels"] != IGNORED).cpu()
        return [best_T[words_T].tolist() for best_T, words_T in zip(best_BT, words_BT)]

    def decide(
        self,
        example: TaggedSentence,
        rows: Sequence[Row],
        predictions: Sequence[Sequence[int]],
        labels: Sequence[str],
    ) -> list[str]:
        """Return a tag for each word: the tags from all windows, joined in order."""
        return [labels[number] for part in predictions for number in part]

    def text_key(self, example: TaggedSentence) -> str:
        return text_key(" ".join(example.words))


def _row(example: int, input_ids: list[int], first: Sequence[int], numbers: Sequence[int]) -> Row:
    labels = [IGNORED] * len(input_ids)
    for position, number in zip(first, numbers):
        if position >= 0:
            labels[position] = number
    return {"input_ids": input_ids, "labels": labels, "example": example}
