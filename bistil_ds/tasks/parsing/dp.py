"""Universal Dependencies parsing with a biaffine parser; its predictions are well-formed trees.

The metrics are two shares of words: with the right head (UAS), and with the right head and relation (LAS). As in the
CoNLL 2018 shared task, relations are compared without their subtypes, and every word counts, punctuation too.

Shapes: B sentences, W words, R relations, N annotated words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.models.head import IGNORED
from bistil_ds.tasks.examples import Tree
from bistil_ds.tasks.heads import load_classifier
from bistil_ds.tasks.labels import check_known, map_advice
from bistil_ds.tasks.padding import pad, pad_inputs
from bistil_ds.tasks.parsing.biaffine import start_weight
from bistil_ds.tasks.parsing.parser import PARSER_MODULES, BiaffineParser
from bistil_ds.tasks.parsing.trees import best_tree
from bistil_ds.tasks.readers.conllu import read_trees
from bistil_ds.tasks.readers.tree_check import RELATIONS
from bistil_ds.tasks.task import ReadOptions, Row, Task
from bistil_ds.tasks.text_key import text_key
from bistil_ds.tasks.words import align

NO_ANSWER = (-1, "_")  # head and relation of a word beyond the cut: wrong, because no gold tree has them


class DependencyParsing(Task):
    """Dependency parsing; a sentence is one row, cut at `max_length` tokens.

    Nothing is learned from a word that is beyond the cut, or whose head is beyond the cut. In evaluation, words beyond
    the cut get no head and no relation, and count as wrong. A universal relation that the model does not know counts as
    wrong, too, but a right head counts.
    """

    name = "dp"
    metric = "las"
    full_epochs = 10
    sparse_epochs = 10
    learning_rate = 5e-5
    cuts_words = True

    def read(self, source: str, options: ReadOptions) -> Iterator[Tree]:
        return read_trees(source, options)

    def labels(self, examples: Sequence[Tree]) -> tuple[str, ...]:
        return tuple(sorted({relation for tree in examples for relation in tree.relations}))

    def check_labels(self, examples: Sequence[Tree], labels: Sequence[str], flag: str) -> None:
        found = ((relation, tree.place) for tree in examples for relation in tree.relations)
        advise = (lambda relation: map_advice(relation, "dep")) if "dep" in labels else None
        check_known(found, labels, flag, "relation", advise, RELATIONS)

    def features(
        self,
        examples: Sequence[Tree],
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        max_length: int,
        *,
        training: bool,
    ) -> list[Row]:
        index = {label: i for i, label in enumerate(labels)}
        rows = []
        aligned = align([tree.words for tree in examples], tokenizer, max_length)
        for number, (tree, (input_ids, first)) in enumerate(zip(examples, aligned, strict=True)):
            inside = sum(position >= 0 for position in first)
            known = [head <= inside for head in tree.heads[:inside]]
            rows.append(
                {
                    "input_ids": input_ids,
                    "word_positions": first[:inside],
                    "heads": [h if k else IGNORED for h, k in zip(tree.heads, known)],
                    "relations": [index.get(r, IGNORED) if k else IGNORED for r, k in zip(tree.relations, known)],
                    "example": number,
                }
            )
        return rows

    def unused(self, examples: Sequence[Tree], rows: Sequence[Row]) -> str:
        """Return how many words, in how many sentences, are beyond the cut."""
        beyond = [len(examples[row["example"]].words) - len(row["word_positions"]) for row in rows]
        if not any(beyond):
            return ""
        longest = max(len(row["input_ids"]) for row in rows)  # a sentence that is cut has all tokens that it may have
        said = f"{sum(beyond)} words, in {sum(map(bool, beyond))} of {len(rows)} sentences, are beyond {longest} tokens"
        return f"{said}, --max_length: they count as wrong, and nothing is learned from them"

    def load_model(self, folder: str | Path, labels: Sequence[str], **kwargs: Any) -> PreTrainedModel:
        return load_classifier(BiaffineParser, folder, labels, heads=PARSER_MODULES, start=start_weight, **kwargs)

    def collate(self, rows: Sequence[Row], pad_token_id: int) -> dict[str, Tensor]:
        batch = pad_inputs(rows, pad_token_id)
        batch["word_positions"] = pad([row["word_positions"] for row in rows], -1)
        for name in ("heads", "relations"):
            batch[name] = pad([row[name] for row in rows], IGNORED)
        return batch

    def distilled_logits(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the arc logits [N, W + 1], and the relation logits [N, R] of the gold arcs."""
        annotated_BW = batch["heads"] != IGNORED
        return [outputs.arc_logits[annotated_BW], outputs.relation_logits[annotated_BW]]

    def predict(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[tuple[list[int], list[int]]]:
        """Return for each sentence the heads of its words in the best tree, and the best relations of those arcs."""
        predictions = []
        lengths = (batch["word_positions"] >= 0).sum(dim=1).tolist()
        arcs, relations = outputs.arc_logits.detach().cpu().numpy(), outputs.relations.cpu().numpy()
        for arc_logits, choices, words in zip(arcs, relations, lengths):
            heads = best_tree(arc_logits[:words, : words + 1].astype(np.float64))
            predictions.append((heads.tolist(), choices[np.arange(words), heads].tolist()))
        return predictions

    def decide(
        self,
        example: Tree,
        rows: Sequence[Row],
        predictions: Sequence[tuple[list[int], list[int]]],
        labels: Sequence[str],
    ) -> tuple[tuple[int, ...], tuple[str, ...]]:
        ((heads, relations),) = predictions
        unseen = len(example.words) - len(heads)
        head, relation = NO_ANSWER
        return (*heads, *[head] * unseen), (*(labels[r] for r in relations), *[relation] * unseen)

    def counts(self, example: Tree, answer: tuple[Sequence[int], Sequence[str]], language: str | None) -> np.ndarray:
        """Return float64 [3]: number of words, of words with the right head, of words with right head and relation."""
        heads = np.array(answer[0]) == example.heads
        return np.array([len(heads), heads.sum(), (heads & (np.array(answer[1]) == example.relations)).sum()], float)

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        words, heads, both = (float(total) for total in totals)
        return {"uas": heads / max(words, 1.0), "las": both / max(words, 1.0)}

    def text_key(self, example: Tree) -> str:
        return text_key(" ".join(example.words))
