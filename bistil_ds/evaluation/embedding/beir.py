"""Read a retrieval test set in the form of BEIR: documents, queries, and judgements of which document answers which."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bistil_ds.console.untrusted import is_utf8
from bistil_ds.errors import InputError
from bistil_ds.evaluation.embedding.numbers import number_at, parse_number
from bistil_ds.tasks.readers.json_documents import json_rows
from bistil_ds.tasks.readers.json_values import text_at
from bistil_ds.tasks.readers.lines import quote
from bistil_ds.tasks.readers.records import records
from bistil_ds.tasks.task import ReadOptions

CORPUS, QUERIES, JUDGEMENTS = "corpus.jsonl", "queries.jsonl", "qrels/test.tsv"
FILES = (CORPUS, QUERIES, JUDGEMENTS)
JUDGED = {"query-id": ("query_id", "qid"), "corpus-id": ("corpus_id", "doc_id"), "score": ("relevance",)}


@dataclass(frozen=True)
class Query:
    """A query, and the relevance of documents, which are numbered as in the list of documents.

    `namesake` is the document that has the query's name; -1 if there is none.
    """

    text: str
    relevance: dict[int, float]
    namesake: int = -1

    @property
    def left_out(self) -> int:
        """Return the document that no ranking for the query holds: its namesake unless that is relevant; else -1."""
        return -1 if self.relevance.get(self.namesake, 0) > 0 else self.namesake


def read_beir(folder: Path, options: ReadOptions) -> tuple[list[Query], list[str]]:
    """Return the queries that have a relevant document, and the documents, in the order in which ties are ranked.

    trec_eval ranks equally similar documents by falling names; the documents are in that order. A document is its
    title, if it has one, and its text. `options.columns` name columns of the judgements.

    Raises:
        InputError: a file is missing or does not follow its format; a name is there twice; a judgement names a query or
            document that is not there; or no query has a relevant document.
    """
    if missing := [file for file in FILES if not (folder / file).is_file()]:
        raise InputError(f"{options.flag} {folder}: has no {', '.join(missing)}; expected a folder in BEIR's form")
    documents = {name: _document(row, where) for name, row, where in _named(folder / CORPUS, options.flag)}
    names = sorted(documents, reverse=True)
    numbers = {name: number for number, name in enumerate(names)}
    queries = {
        name: Query(text_at(row, "text", where), {}, numbers.get(name, -1))
        for name, row, where in _named(folder / QUERIES, options.flag)
    }
    judgements = ReadOptions(options.flag, options.columns)
    for _, where, row in records(str(folder / JUDGEMENTS), judgements, JUDGED, _is_judgement):
        for column, known, file in (("query-id", queries, QUERIES), ("corpus-id", documents, CORPUS)):
            if row[column] not in known:
                raise InputError(f"{where}: {column} {quote(row[column])} is not in {file}")
        queries[row["query-id"]].relevance[numbers[row["corpus-id"]]] = number_at(row, "score", where)
    answered = [query for query in queries.values() if any(score > 0 for score in query.relevance.values())]
    if not answered:
        raise InputError(f"{options.flag} {folder}: {JUDGEMENTS} has no score above 0; expected relevant documents")
    return answered, [documents[name] for name in names]


def _is_judgement(cells: Any) -> bool:
    """Return whether the cells are a judgement, and not a header."""
    return not math.isnan(parse_number(cells["score"]))


def _named(path: Path, flag: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield (name, object, place for messages) for each object of a file; refuse a name that is there twice."""
    seen: set[str] = set()
    for _, where, row in json_rows(path, flag):
        name = row.get("_id")
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise InputError(f"{where}: _id is {quote(name)}; expected a name")
        if str(name) in seen:
            raise InputError(f"{where}: _id {quote(str(name))} is there twice; give each its own name")
        seen.add(str(name))
        yield str(name), row, where


def _document(row: dict[str, Any], where: str) -> str:
    parts = [row.get("title") or "", row.get("text")]
    if not all(isinstance(part, str) for part in parts):
        raise InputError(f"{where}: title or text is no string; expected text")
    text = " ".join(part for part in parts if part).strip()
    if not is_utf8(text):
        raise InputError(f"{where}: title or text has an escaped surrogate without its partner; write it as UTF-8")
    return text
