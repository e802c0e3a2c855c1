"""Test the readers of test sets of sentence vectors, and the one line that each wrong input gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bistil_ds.errors import InputError
from bistil_ds.evaluation.choices import parse_test_files
from bistil_ds.evaluation.embedding.readers import parallel_files, read_sentences
from bistil_ds.evaluation.embedding.sentence_sets import Bitext, Retrieval, Scored, SentenceSet
from bistil_ds.tasks import find_task
from bistil_ds.tasks.task import ReadOptions
from bistil_ds.text.corpus import corpus_hash

DOCUMENTS = [
    {"_id": "d1", "title": "A title", "text": "and text"},
    {"_id": "d2", "title": "", "text": "text alone"},
    {"_id": 10, "text": "number"},
]
QUERIES = [{"_id": "q1", "text": "one"}, {"_id": "q2", "text": "two"}, {"_id": "q3", "text": "unanswered"}]
JUDGED = "query-id\tcorpus-id\tscore\nq1\td2\t2\nq1\t10\t0\nq2\td1\t1\nq3\td1\t0\n"


def write_beir(folder: Path, documents: object = None, queries: object = None, judged: str = JUDGED) -> Path:
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for name, rows in {"corpus": documents or DOCUMENTS, "queries": queries or QUERIES}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels" / "test.tsv").write_text(judged)
    return folder


def read(source: object, **options: object) -> SentenceSet:
    return read_sentences(find_task("embed"), str(source), ReadOptions("--test_file", **options), False)  # type: ignore[arg-type]


def refused(source: object, message: str, **options: object) -> None:
    with pytest.raises(InputError, match=message) as error:
        read(source, **options)
    assert "\n" not in str(error.value)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_two_files_with_a_comma_are_parallel(tmp_path: Path) -> None:
    one, other = write(tmp_path / "en.txt", "a\n\nb\n"), write(tmp_path / "de.txt", "c\n\nd\n")
    found = read(f"{one},{other}", language="en-de")
    assert isinstance(found, Bitext)
    assert (found.language, found.in_source, found.pairs) == ("en-de", 2, [("a", "c"), ("b", "d")])
    assert found.sha256 not in (None, read(f"{other},{one}").sha256)


def test_a_name_with_a_comma_may_be_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a,b.tsv", "x\ty\t1\nx\tz\t2\n")
    assert parallel_files(str(path)) is None
    assert isinstance(read(path), Scored)
    monkeypatch.setenv("HOME", "/home/me")
    assert parallel_files("a,~/b") == ("a", "/home/me/b")
    assert parallel_files("a,") is None


def test_unequal_parallel_files_are_refused_with_both_counts(tmp_path: Path) -> None:
    one, other = write(tmp_path / "en.txt", "a\nb\n"), write(tmp_path / "de.txt", "c\nd\ne\n")
    refused(f"{one},{other}", r"--test_file: .*en\.txt has 2 texts and .*de\.txt has 3")
    refused(f"{one},{tmp_path}/gone.txt", "there is no file .*gone.txt")
    refused(f"{one},{one}", "--columns text=x: this format has fixed columns", columns={"text": "x"})


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("plain.tsv", "a man\ta boy\t3.5\na cat\ta dog\t1e0\n", {}),
        ("named.tsv", "score\tsentence2\tsentence1\n3.5\ta boy\ta man\n1\ta dog\ta cat\n", {}),
        ("glue.csv", 'sentence1,sentence2,label\n"a man","a boy",3.5\na cat,a dog,1\n', {}),
        ("other.csv", "u,v,w\na man,a boy,3.5\na cat,a dog,1\n", {"sentence1": "u", "sentence2": "v", "score": "w"}),
        ("stsb.tsv", "x\t3.5\ta man\ta boy\nx\t1\ta cat\ta dog\n", {"sentence1": "3", "sentence2": "4", "score": "2"}),
        ("rows.jsonl", '{"sentence1": "a man", "sentence2": "a boy", "score": 3.5}\n'
                       '{"sentence1": "a cat", "sentence2": "a dog", "score": 1}\n', {}),
    ],
)  # fmt: skip
def test_scored_pairs_come_in_many_forms(tmp_path: Path, name: str, content: str, columns: dict[str, str]) -> None:
    found = read(write(tmp_path / name, content), columns=columns)
    assert isinstance(found, Scored)
    assert [tuple(each) for each in found.examples] == [("a man", "a boy", 3.5), ("a cat", "a dog", 1.0)]
    assert found.sha256 == corpus_hash(tmp_path / name, "")


def test_scores_have_to_be_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "s.tsv", "a\tb\t1\nc\td\thigh\n")
    refused(path, r"--test_file: .*s\.tsv, line 2: score is 'high'; expected a number")
    for score in ("nan", "inf", ""):
        refused(write(path, f"a\tb\t1\nc\td\t{score}\n"), "line 2: score is .*expected a number")
    refused(write(tmp_path / "s.jsonl", '{"sentence1": "a", "sentence2": "b", "score": true}\n'), "score is True")
    refused(write(path, "a\tb\t1\n \td\t2\n"), "line 2: sentence1 is empty")
    refused(write(path, "a\tb\t1\nc\td\t1\n"), "all scores are 1; expected different ones")
    refused(
        write(path, "a\tb\t1\nc\td\t2\n"), "--label_map x=y: the examples of embed have no labels", label_map={"x": "y"}
    )


def test_a_folder_holds_documents_queries_and_judgements(tmp_path: Path) -> None:
    found = read(write_beir(tmp_path / "set"), language="xx")
    assert isinstance(found, Retrieval)
    assert found.documents == ["text alone", "A title and text", "number"]  # d2, d1, 10: falling names
    assert [(query.text, query.relevance) for query in found.examples] == [("one", {0: 2, 2: 0}), ("two", {1: 1})]
    assert (found.in_source, found.inputs) == (2, 5)
    trec = "q1 0 d2 2\nq1 0 10 0\nq2 0 d1 1\n".replace(" ", "\t")  # TREC's form, without a header
    columns = {"query-id": "1", "corpus-id": "3", "score": "4"}
    assert read(write_beir(tmp_path / "set", judged=trec), columns=columns).examples == found.examples
    write_beir(tmp_path / "set", judged=JUDGED.replace("q3\td1\t0", "q3\td1\t1"))
    assert read(tmp_path / "set").sha256 != found.sha256


def test_a_document_with_the_name_of_a_query_is_left_out_unless_it_is_relevant(tmp_path: Path) -> None:
    documents = [{"_id": name, "text": name} for name in ("q1", "q2", "d1")]
    judged = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\tq2\t1\n"
    found = read(write_beir(tmp_path / "set", documents, QUERIES[:2], judged))
    assert [found.documents[query.namesake] for query in found.examples] == ["q1", "q2"]
    vectors = dict(zip(found.documents, np.eye(3, dtype=np.float32), strict=True))
    asked = np.stack([vectors["q1"] + vectors["d1"] / 2, vectors["q2"]])
    scores, kept = found.results(asked, np.stack(list(vectors.values())))
    assert scores.tolist() == [[1, 1], [1, 1]]  # d1 is the first for q1, and q2 for q2
    assert [found.documents[row[0]] for row in kept.neighbours_TK] == ["d1", "q2"]


def test_what_is_wrong_in_a_folder_is_said_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for judged, message in {
        "q1\td9\t1": r"test\.tsv, line 2: corpus-id 'd9' is not in corpus\.jsonl",
        "q9\td1\t1": r"test\.tsv, line 2: query-id 'q9' is not in queries\.jsonl",
        "q1\td1\tmuch": r"test\.tsv, line 2: score is 'much'; expected a number",
        "q1\td1": r"test\.tsv, line 2: 2 tab-separated columns",
        "q1\td1\t0": r"set: qrels/test\.tsv has no score above 0",
    }.items():
        refused(write_beir(folder, judged=f"query-id\tcorpus-id\tscore\n{judged}\n"), message)
    refused(write_beir(folder, [*DOCUMENTS, DOCUMENTS[0]]), r"corpus\.jsonl, line 4: _id 'd1' is there twice")
    refused(write_beir(folder, [{"title": "x"}]), r"corpus\.jsonl, line 1: _id is None; expected a name")
    refused(write_beir(folder, [{"_id": "d1", "text": 1}]), r"corpus\.jsonl, line 1: title or text is no string")
    refused(write_beir(folder, queries=[{"_id": "q1", "text": " "}]), r"queries\.jsonl, line 1: text is empty")
    refused(write_beir(folder), "--columns tags=x: the columns here are query-id, corpus-id", columns={"tags": "x"})
    (folder / "queries.jsonl").unlink()
    refused(folder, r"--test_file .*set: has no queries\.jsonl; expected a folder in BEIR's form")


def test_parallel_files_need_a_name() -> None:
    assert parse_test_files(["en-de=x/en.txt,x/de.txt"]) == {"en-de": "x/en.txt,x/de.txt"}
    with pytest.raises(InputError, match="two files need a name; write NAME=en"):
        parse_test_files(["en.txt,de.txt"])
