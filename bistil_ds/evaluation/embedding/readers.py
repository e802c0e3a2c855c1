"""Read test sets of sentence vectors: two parallel files, scored pairs of sentences, or a folder in BEIR's form."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bistil_ds.errors import InputError
from bistil_ds.evaluation.embedding.beir import FILES, read_beir
from bistil_ds.evaluation.embedding.numbers import number_at, parse_number
from bistil_ds.evaluation.embedding.sentence_sets import Bitext, Retrieval, Scored, SentenceSet
from bistil_ds.tasks.embed.pairs import read_parallel
from bistil_ds.tasks.labels import refuse_label_map
from bistil_ds.tasks.readers.columns import check_names
from bistil_ds.tasks.readers.json_values import text_at
from bistil_ds.tasks.readers.records import records
from bistil_ds.tasks.task import ReadOptions, Task
from bistil_ds.text.corpus import corpus_hash
from bistil_ds.text.specification import expanded

SCORED_COLUMNS = {
    "sentence1": ("sentence_A", "text1"),  # sentence_A and relatedness_score: SICK
    "sentence2": ("sentence_B", "text2"),
    "score": ("label", "similarity_score", "relatedness_score"),  # label: STS-B in GLUE
}


class ScoredPair(NamedTuple):
    """Two sentences, and how similar people found them."""

    first: str
    second: str
    score: float


def read_sentences(task: Task, source: str, options: ReadOptions, progress: bool) -> SentenceSet:
    """Return the test set called `options.language`; the form of `source` decides which kind it is.

    `FILE,FILE` is a `Bitext`, a folder in BEIR's form a `Retrieval`, and a file or hub data set a `Scored`.

    Raises:
        InputError: the source cannot be read, or does not follow its form; or `options` name columns that it does not
            have, or labels.
    """
    refuse_label_map(options, task.name)
    files = parallel_files(source)
    if files:
        check_names(options, ())
        pairs = list(read_parallel(*files, options.flag))
        hashes = [corpus_hash(file, options.flag) for file in files]
        return Bitext(examples=pairs, **_about(source, hashes, len(pairs), options))
    if Path(source).is_dir():
        queries, documents = read_beir(Path(source), options)
        hashes = [corpus_hash(Path(source) / file, options.flag) for file in FILES]
        return Retrieval(examples=queries, documents=documents, **_about(source, hashes, len(queries), options))
    scored = read_scored(source, options)
    return Scored(examples=scored, **_about(source, [corpus_hash(source, options.flag)], len(scored), options))


def parallel_files(source: str) -> tuple[str, str] | None:
    """Return the two files of `FILE,FILE`; None if `source` has another form, or is the name of a file."""
    first, comma, second = source.partition(",")
    if Path(source).exists() or not all((first, comma, second)):
        return None
    return first, expanded(second)


def read_scored(source: str, options: ReadOptions) -> list[ScoredPair]:
    """Return the pairs of a table, of JSON or of a hub data set, with columns like `SCORED_COLUMNS`.

    Raises:
        InputError: `records` raises it; a sentence is blank; a score is no number; or all scores are equal.
    """
    pairs = []
    for _, where, record in records(source, options, SCORED_COLUMNS, _is_scored):
        first, second = (text_at(record, column, where) for column in ("sentence1", "sentence2"))
        pairs.append(ScoredPair(first, second, number_at(record, "score", where)))
    if len({pair.score for pair in pairs}) == 1:
        raise InputError(f"{options.flag} {source}: all scores are {pairs[0].score:g}; expected different ones to rank")
    return pairs


def _is_scored(cells: Any) -> bool:
    """Return whether the cells are a row, and not a header."""
    return not math.isnan(parse_number(cells["score"]))


def _about(source: str, hashes: Sequence[str | None], examples: int, options: ReadOptions) -> dict[str, Any]:
    """Return the fields of a test set that all kinds have alike; its hash is that of its files' hashes."""
    known = [one for one in hashes if one is not None]
    joined = known[0] if len(known) == 1 else hashlib.sha256("".join(known).encode()).hexdigest()
    sha256 = joined if len(known) == len(hashes) else None
    return {"language": options.language or "", "source": source, "sha256": sha256, "in_source": examples}
