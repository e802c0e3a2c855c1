"""Test that sentence pairs are read from TSV with a header and from JSONL, under their usual column names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reading import read_all, refusal, write

from bistil_ds.errors import Notice
from bistil_ds.tasks.examples import Place, SentencePair
from bistil_ds.tasks.readers import read_pairs

HEADER = "premise\thypothesis\tlabel\n"


def test_tsv_and_jsonl_give_the_same_pairs(tmp_path: Path) -> None:
    rows = [('He said "yes', '"No" is\' so', "neutral"), ("Ana", "Éva ", "entailment")]
    tsv = write(
        tmp_path / "a.tsv", "id\tlabel\tpremise\thypothesis\n" + "".join(f"7\t{c}\t{a}\t{b}\n" for a, b, c in rows)
    )
    snli = [dict(zip(("sentence1", "sentence2", "gold_label"), row, strict=True), genre=1) for row in rows]
    jsonl = write(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, snli)))
    assert read_all(read_pairs, tsv) == [SentencePair(*row, Place(str(tsv), n)) for n, row in enumerate(rows, 2)]
    assert read_all(read_pairs, jsonl) == [SentencePair(*row, Place(str(jsonl), n)) for row, n in zip(rows, (1, 3))]


def test_columns_may_have_any_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "text\tclaim\tpremise\tlabel\nA\tB\tC\tneutral\n")
    (pair,) = read_all(read_pairs, path, columns={"premise": "text", "hypothesis": "claim"})
    assert (pair.premise, pair.hypothesis) == ("A", "B")


def test_labels_are_renamed_numbers_included(tmp_path: Path) -> None:
    label_map = {"0": "entailment", "c": "contradiction"}
    tsv = write(tmp_path / "a.tsv", HEADER + "A\tB\t0\nA\tB\tc\n")
    assert [pair.label for pair in read_all(read_pairs, tsv, label_map=label_map)] == ["entailment", "contradiction"]
    jsonl = write(tmp_path / "a.jsonl", '{"premise": "A", "hypothesis": "B", "label": 0}')
    assert [pair.label for pair in read_all(read_pairs, jsonl, label_map=label_map)] == ["entailment"]


def test_pairs_without_gold_label_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", HEADER + "A\tB\t-\nA\tC\tneutral\n")
    with pytest.warns(Notice, match=r"left out 1 of 2 pairs, which have no gold label \('-'\)"):
        assert [pair.hypothesis for pair in read_all(read_pairs, path)] == ["C"]
    assert "no pair with a label; all 1" in refusal(read_pairs, write(tmp_path / "b.tsv", HEADER + "A\tB\t-\n"))


TSV = {
    "no header": ("A\tneutral\tB\n", "line 1: no column premise or sentence1 or context (it has 'A', 'neutral', 'B')"),
    "no header, numbers": ("A\tB\t0\n", "where there is none, give numbers: --columns premise=1 hypothesis=2 label=3"),
    "two columns": (HEADER + "A\tB\n", "line 2: 2 tab-separated columns ('A\\tB'); the header has 3"),
    "four columns": (HEADER + "A\tB\tneutral\n\nA\tB\tC\tneutral\n", "line 4: 4 tab-separated columns"),
    "both names": ("sentence1\t" + HEADER + "A\tB\tC\tD\n", "line 1: premise and sentence1 both there; say which with"),
    "column twice": ("label\t" + HEADER + "A\tB\tC\tD\n", "line 1: column label is there twice"),
    "empty sentence": (HEADER + " \tB\tneutral\n", "line 2: premise is empty"),
    "number": (HEADER + "A\tB\t1\n", "such as --label_map 0=entailment 1=neutral 2=contradiction"),
    "unknown label": (HEADER + "A\tB\tmaybe\n", "line 2: label is 'maybe'; expected one of"),
    "open quote": ('premise,hypothesis,label\nA,"B,neutral\nC,D,neutral\n', "line 2 is not CSV"),
    "two of commas": ("premise,hypothesis,label\nA,neutral\n", "line 2: 2 comma-separated columns"),
    "no label": (HEADER + "A\tB\t\n", "line 2: label is ''"),
    "header only": (HEADER + "\n", "has no rows"),
    "empty": ("", "has no rows"),
}


@pytest.mark.parametrize("name", TSV)
def test_bad_tsv_is_refused(tmp_path: Path, name: str) -> None:
    text, expected = TSV[name]
    assert expected in refusal(read_pairs, write(tmp_path / "a.tsv", text))


GOOD = '{"premise": "A", "hypothesis": "B", "label": "neutral"}\n'
JSONL = {
    "not JSON": (GOOD + "{premise", "line 2: not JSON"),
    "deep": ("[" * 100_000, "line 1: JSON nested too deeply"),
    "no object": (GOOD + "[1]", "line 2: a list of 1 is no object"),
    "list of no objects": ("[1, 2]", "row 1: 1 is no object"),
    "list over several lines": ('[\n{"premise": "A"},\n]', "a.jsonl: not JSON (Expecting value at line 3, column 1)"),
    "key missing": (GOOD + '{"premise": "A", "hypothesis": "B"}', "line 2: no key label, which the first object has"),
    "key twice": (
        '{"premise": "A", "premise": "B", "label": 1}',
        "line 1: the key 'premise' stands twice in one object",
    ),
    "long number": (GOOD.replace('"neutral"', "1" * 5000), "line 1: a number with thousands of digits"),
    "number as text": (GOOD.replace('"A"', "3"), "line 1: premise is 3; expected a string"),
    "true": (GOOD.replace('"neutral"', "true"), "line 1: label is True"),
    "null": (GOOD.replace('"neutral"', "null"), "line 1: label is None"),
    "list": (GOOD.replace('"neutral"', "[1, 2]"), "line 1: label is a list of 2"),
    "half a surrogate": (GOOD.replace("A", "\\ud83d"), "line 1: premise has an escaped surrogate"),
}


@pytest.mark.parametrize("name", JSONL)
def test_bad_jsonl_is_refused(tmp_path: Path, name: str) -> None:
    text, expected = JSONL[name]
    assert expected in refusal(read_pairs, write(tmp_path / "a.jsonl", text))


def test_columns_that_no_reader_knows_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", HEADER + "A\tB\tneutral\n")
    expected = "--columns premiss=x: the columns here are premise, hypothesis, label"
    assert refusal(read_pairs, path, columns={"premiss": "x"}).startswith(expected)
