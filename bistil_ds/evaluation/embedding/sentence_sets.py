"""Test sets of sentence vectors: each is measured by whole sets of vectors, and beside the reference model's.

Letters of axes: E numbers of a vector, K neighbours, N examples, T texts.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from bistil_ds.embedding.vectors import encode
from bistil_ds.errors import InputError
from bistil_ds.evaluation.embedding.agreement import cosines, shares_in_common
from bistil_ds.evaluation.embedding.bitext import translations_found
from bistil_ds.evaluation.embedding.correlation import spearman
from bistil_ds.evaluation.embedding.prompts import prompts_of
from bistil_ds.evaluation.embedding.ranking import ndcg, recall
from bistil_ds.evaluation.embedding.search import nearest, nearest_others, normalised
from bistil_ds.evaluation.held_out import Advance, Cell, HeldOut, RunOptions, counting
from bistil_ds.tasks.candidates import Candidate
from bistil_ds.tasks.models import LoadedTaskModel
from bistil_ds.tasks.text_key import text_key

WARM_UP = 8  # texts that a model encodes before timing starts
NEIGHBOURS = 10  # of a text, which are compared with those that the reference model finds
RANKED = 100  # documents in a ranking
LIKENESS = ("cosine", f"neighbours@{NEIGHBOURS}")


class Kept(NamedTuple):
    """The reference model's vectors [T, E] of the compared texts, and the neighbours [T, K] that they have."""

    vectors_TE: np.ndarray
    neighbours_TK: np.ndarray


class Encoder(NamedTuple):
    """A model that makes vectors of length 1."""

    loaded: LoadedTaskModel
    candidate: Candidate
    batch_size: int

    @property
    def prompts(self) -> tuple[str, str]:
        """Return the prompts of queries and documents."""
        return prompts_of(self.loaded.model.settings)

    def __call__(self, texts: Sequence[str], prompt: str) -> np.ndarray:
        """Return the vectors, fp32 [T, E].

        Raises:
            InputError: a number is not finite.
        """
        model, tokenizer, limit = self.loaded.model, self.loaded.tokenizer, self.candidate.max_length
        found_TE = encode(model, tokenizer, texts, prompt=prompt, batch_size=self.batch_size, max_length=limit)
        if not np.isfinite(found_TE).all():
            raise InputError(
                f"--model {self.candidate.choice.folder}: its vectors hold NaN or infinity; train it again"
            )
        return normalised(found_TE)


@dataclass(frozen=True, kw_only=True)
class SentenceSet(HeldOut):
    """Examples that a model turns into vectors. Beside the metrics of its kind, a set has those of `LIKENESS`."""

    timed: ClassVar[str] = "with tokenising; an example is a text"
    compared: ClassVar[str] = (
        f"{' and '.join(LIKENESS)} compare a model's vectors with the reference's. A dash stands at the reference "
        "itself, and at vectors of another width, which have no cosine with the reference's."
    )

    def check(self, loaded: LoadedTaskModel, candidate: Candidate, flag: str) -> None:
        """Raise InputError if a prompt leaves no room for a text."""
        for prompt in prompts_of(loaded.model.settings):
            if len(loaded.tokenizer(prompt)["input_ids"]) >= candidate.max_length:
                raise InputError(f"--max_length {candidate.max_length}: leaves no room for a text; give a larger one")

    def describe(self, loaded: LoadedTaskModel, candidate: Candidate) -> str:
        """Return how the model makes vectors, with the prompts that it gets here."""
        settings = loaded.model.settings
        used = dict(zip(("query", "document"), prompts_of(settings), strict=True))
        return settings.describe(used, candidate.max_length)

    def answer(
        self,
        loaded: LoadedTaskModel,
        candidate: Candidate,
        options: RunOptions,
        advance: Advance,
        reference: Cell | None,
    ) -> Cell:
        """Return the results of each example; those of `LIKENESS` are NaN without a reference."""
        encoder = Encoder(loaded, candidate, options.batch_size)
        encoder(self.texts[:WARM_UP], "")  # the first batch is slower: memory is allocated, and kernels are chosen
        began = time.perf_counter()
        with counting(loaded.model, advance):
            vectors = self.vectors(encoder)
        seconds = time.perf_counter() - began  # no synchronisation is needed, because the vectors are on the CPU
        results, kept = self.results(*vectors)
        alike = self.of_examples(_likeness(kept, reference.kept if reference else None))
        counts_NC = np.concatenate([results, alike], axis=1, dtype=np.float64)
        return Cell(counts_NC, seconds, self.inputs, None if reference else kept)

    @property
    def inputs(self) -> int:
        """Return the number of texts."""
        return len(self.texts)

    @property
    @abstractmethod
    def texts(self) -> list[str]:
        """Return the texts whose vectors are needed."""

    @abstractmethod
    def vectors(self, encoder: Encoder) -> tuple[np.ndarray, ...]:
        """Return the vectors of all texts, as `results` takes them."""

    @abstractmethod
    def results(self, *vectors: np.ndarray) -> tuple[np.ndarray, Kept]:
        """Return the results of each example, float64 [N, …], and what is compared with the reference model's."""

    @abstractmethod
    def of_examples(self, values_TV: np.ndarray) -> np.ndarray:
        """Return the mean of values over the compared texts of each example, [N, V]."""


@dataclass(frozen=True, kw_only=True)
class PairSet(SentenceSet):
    """Pairs of texts. Each text is encoded once, as a query; its neighbours are among all texts of the set."""

    @property
    @abstractmethod
    def pairs(self) -> list[tuple[str, str]]:
        """Return the two texts of each example."""

    @cached_property
    def texts(self) -> list[str]:
        """Return each text once."""
        return list(dict.fromkeys(text for pair in self.pairs for text in pair))

    @cached_property
    def places_N2(self) -> np.ndarray:
        """Return the places of each example's two texts in `texts`."""
        place = {text: at for at, text in enumerate(self.texts)}
        return np.array([[place[one], place[other]] for one, other in self.pairs])

    def text_keys(self) -> list[str]:
        """Return the key of each text."""
        return [text_key(text) for text in self.texts]

    def vectors(self, encoder: Encoder) -> tuple[np.ndarray, ...]:
        """Return the vectors of `texts`."""
        return (encoder(self.texts, encoder.prompts[0]),)

    def results(self, *vectors: np.ndarray) -> tuple[np.ndarray, Kept]:
        """Return the results of each pair."""
        (vectors_TE,) = vectors
        first_NE, second_NE = (vectors_TE[places_N] for places_N in self.places_N2.T)
        return self.results_of(first_NE, second_NE), Kept(vectors_TE, nearest_others(vectors_TE, NEIGHBOURS))

    @abstractmethod
    def results_of(self, first_NE: np.ndarray, second_NE: np.ndarray) -> np.ndarray:
        """Return the results of each pair from the vectors of its two texts, [N, …]."""

    def of_examples(self, values_TV: np.ndarray) -> np.ndarray:
        """Return the mean over the two texts of each example."""
        mean_NV: np.ndarray = values_TV[self.places_N2].mean(1)
        return mean_NV


@dataclass(frozen=True, kw_only=True)
class Bitext(PairSet):
    """Parallel sentences, `ParallelTexts`: each is sought among the translations of all."""

    @property
    def metric(self) -> str:
        """Return the share of translations found by cosine, the mean of both directions."""
        return "accuracy"

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Return each sentence and its translation."""
        return [(each.source, each.text) for each in self.examples]

    def results_of(self, first_NE: np.ndarray, second_NE: np.ndarray) -> np.ndarray:
        """Return whether each translation is found: forward, backward, and in both directions by margin."""
        return np.stack(list(translations_found(first_NE, second_NE).values()), axis=1)

    def statistics(self, counts_NC: np.ndarray, weights_RN: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the shares of translations found by cosine, the error rates by margin, and `LIKENESS`."""
        forward, backward, margin_forward, margin_backward, *alike = _means(counts_NC, weights_RN)
        found = {"accuracy": (forward + backward) / 2, "accuracy_forward": forward, "accuracy_backward": backward}
        errors = {"xsim_forward": 1 - margin_forward, "xsim_backward": 1 - margin_backward}
        return {**found, **errors, **dict(zip(LIKENESS, alike))}


@dataclass(frozen=True, kw_only=True)
class Scored(PairSet):
    """Pairs of sentences with scores of their similarity, `ScoredPair`."""

    @property
    def metric(self) -> str:
        """Return Spearman's correlation."""
        return "spearman"

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Return the two sentences of each pair."""
        return [(each.first, each.second) for each in self.examples]

    def results_of(self, first_NE: np.ndarray, second_NE: np.ndarray) -> np.ndarray:
        """Return the cosine and the score of each pair."""
        return np.stack([cosines(first_NE, second_NE), [each.score for each in self.examples]], axis=1)

    def statistics(self, counts_NC: np.ndarray, weights_RN: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return Spearman's correlation of cosines and scores, ranked anew in each resample, and `LIKENESS`."""
        alike = _means(counts_NC[:, 2:], weights_RN)
        return {"spearman": spearman(counts_NC[:, 0], counts_NC[:, 1], weights_RN), **dict(zip(LIKENESS, alike))}


@dataclass(frozen=True, kw_only=True)
class Retrieval(SentenceSet):
    """Queries, `Query`, and the documents in which they are sought.

    The vectors of queries and the documents nearest to them are compared with the reference model's. As in BEIR, a
    document with the query's name is left out of the query's ranking (`Query.left_out`).
    """

    documents: list[str] = field(repr=False)

    @property
    def metric(self) -> str:
        """Return nDCG of the first ten documents."""
        return "ndcg@10"

    @cached_property
    def texts(self) -> list[str]:
        """Return the queries and the documents."""
        return [*(query.text for query in self.examples), *self.documents]

    def text_keys(self) -> list[str]:
        """Return the key of each query; documents are not sought in training files."""
        return [text_key(query.text) for query in self.examples]

    def vectors(self, encoder: Encoder) -> tuple[np.ndarray, ...]:
        """Return the vectors of queries and of documents."""
        query, document = encoder.prompts
        return encoder([each.text for each in self.examples], query), encoder(self.documents, document)

    def results(self, *vectors: np.ndarray) -> tuple[np.ndarray, Kept]:
        """Return nDCG@10 and recall@100 of each query."""
        queries_NE, documents_DE = vectors
        _, found_NK = nearest(queries_NE, documents_DE, RANKED + 1)
        left_out_NK = found_NK == np.array([[query.left_out] for query in self.examples])
        left_out_last = np.argsort(left_out_NK, axis=1, kind="stable")  # not relevant, so at the end it changes nothing
        ranked_NK = np.take_along_axis(found_NK, left_out_last, 1)[:, :RANKED]
        rankings = zip(ranked_NK.tolist(), (query.relevance for query in self.examples))
        scores = [(ndcg(*each), recall(*each)) for each in rankings]
        return np.array(scores), Kept(queries_NE, ranked_NK[:, :NEIGHBOURS])

    def of_examples(self, values_TV: np.ndarray) -> np.ndarray:
        """Return the values of the queries."""
        return values_TV

    def statistics(self, counts_NC: np.ndarray, weights_RN: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return means over the queries."""
        return dict(zip(("ndcg@10", "recall@100", *LIKENESS), _means(counts_NC, weights_RN)))


def _likeness(kept: Kept, reference: Kept | None) -> np.ndarray:
    """Return the values of `LIKENESS` for each compared text, float64 [T, 2]; NaN without a reference."""
    if reference is None:
        return np.full((len(kept.vectors_TE), len(LIKENESS)), np.nan)
    alike = cosines(kept.vectors_TE, reference.vectors_TE)
    return np.stack([alike, shares_in_common(kept.neighbours_TK, reference.neighbours_TK)], axis=1)


def _means(counts_NC: np.ndarray, weights_RN: np.ndarray) -> Any:
    """Return the weighted mean of each count in each resample, float64 [C, R]."""
    return (weights_RN @ counts_NC / weights_RN.sum(1, keepdims=True)).T
