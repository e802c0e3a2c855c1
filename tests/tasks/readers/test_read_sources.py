"""Test that readers take plain and gzipped files and hub data sets, and say why anything else is no source."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from reading import Reader, read_all, refusal, values_of, write

from bistil_ds.errors import InputError
from bistil_ds.tasks import ReadOptions
from bistil_ds.tasks.examples import Place, Text
from bistil_ds.tasks.readers import read_pairs, read_questions, read_tagged, read_texts, read_trees, read_upos

CONLLU = "1\tIt\t_\tPRON\t_\t_\t2\tnsubj:pass\t_\t_\n2\trains\t_\tVERB\t_\t_\t0\troot\t_\t_\n\n"
SQUAD = {"data": [{"paragraphs": [{"context": "It rains.", "qas": []}]}]}
SQUAD["data"][0]["paragraphs"][0]["qas"] = [  # type: ignore[index]
    {"id": "q", "question": "What?", "answers": [{"text": "rains", "answer_start": 3}]}
]
FILES: dict[str, tuple[Reader, str, str]] = {
    "trees": (read_trees, "a.conllu", CONLLU),
    "upos": (read_upos, "a.conllu", CONLLU),
    "tagged": (read_tagged, "a.iob2", "It O\nrains O\n"),
    "pairs": (read_pairs, "a.tsv", "premise\thypothesis\tlabel\nIt rains\tIt is wet\tentailment\n"),
    "pairs in JSONL": (read_pairs, "a.jsonl", '{"premise": "A", "hypothesis": "B", "label": "neutral"}\n'),
    "questions": (read_questions, "a.json", json.dumps(SQUAD)),
    "texts": (read_texts, "a.txt", "It rains.\n"),
    "texts in JSONL": (read_texts, "a.jsonl", '{"text": "It rains."}\n'),
}
each = pytest.mark.parametrize("name", FILES)


@each
def test_a_gzipped_file_reads_as_the_file(tmp_path: Path, name: str) -> None:
    reader, file, text = FILES[name]
    (plain,) = read_all(reader, write(tmp_path / file, text))
    (packed,) = read_all(reader, write(tmp_path / f"{file}.gz", gzip.compress(text.encode())))
    assert packed.place == Place(str(tmp_path / f"{file}.gz"), plain.place.line)
    assert values_of(plain) == values_of(packed)


@each
def test_what_is_no_readable_file_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, file, text = FILES[name]
    monkeypatch.chdir(tmp_path)
    assert "there is no file" in refusal(reader, f"data/absent{file}")
    assert "there is no file" in refusal(reader, "-")
    assert ("holds no files" if reader is read_texts else "is a folder") in refusal(reader, tmp_path)
    assert "cannot be read (File name too long)" in refusal(reader, "x" * 5000)
    os.mkfifo(tmp_path / "pipe.txt")
    assert "is a pipe or device" in refusal(reader, tmp_path / "pipe.txt")
    whole = gzip.compress(text.encode())
    assert "is not a whole gzip file" in refusal(reader, write(tmp_path / f"cut.{file}.gz", whole[:-9]))
    assert "is not a whole gzip file" in refusal(reader, write(tmp_path / f"plain.{file}.gz", text))


@each
@pytest.mark.parametrize("content", [b"", b"\n\n\r\n", b"\xef\xbb\xbf", b"\xff\xfe1\0"])
def test_a_file_of_nothing_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    reader, file, _ = FILES[name]
    refusal(reader, write(tmp_path / file, content))


def test_blank_texts_are_left_out_and_lines_numbered_as_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\ufeffone \r\n \n\ntwo")
    assert read_all(read_texts, path) == [Text("one ", Place(str(path), 1)), Text("two", Place(str(path), 4))]
    path = write(tmp_path / "a.jsonl", '{"body": "one"}\n{"body": " "}\n{"body": 2}')
    assert "line 3: column 'body' is int, not a string; name it with --columns text=NAME" in refusal(
        read_texts, path, columns={"text": "body"}
    )
    assert "line 1 has no column 'text' (it has body); name it with --columns text=NAME" in refusal(read_texts, path)


def names(*labels: str) -> ClassLabel:
    return ClassLabel(names=list(labels))


TOKENS: dict[str, Any] = {"tokens": [["It", "rains"]]}
UPOS: dict[str, Any] = {"upos": [[1, 0]]}
HUB: dict[str, tuple[str, dict[str, list[Any]], dict[str, Any]]] = {
    "trees": (
        "trees",
        TOKENS | UPOS | {"head": [["2", "0"]], "deprel": [["nsubj:pass", "root"]]},
        {"upos": [names("VERB", "PRON")]},
    ),
    "trees with numbers": (
        "trees",
        TOKENS | UPOS | {"head": [[2, 0]], "deprel": [["nsubj:pass", "root"]]},
        {"upos": [names("VERB", "PRON")]},
    ),
    "upos": ("upos", TOKENS | UPOS, {"upos": [names("VERB", "PRON")]}),
    "tagged": ("tagged", TOKENS | {"ner_tags": [[0, 0]]}, {"ner_tags": [names("O", "B-PER")]}),
    "pairs": (
        "pairs",
        {"premise": ["It rains"], "hypothesis": ["It is wet"], "label": [1]},
        {"label": names("neutral", "entailment")},
    ),
    "questions": (
        "questions",
        {
            "id": ["q"],
            "question": ["What?"],
            "context": ["It rains."],
            "title": ["x"],
            "answers": [{"text": ["rains"], "answer_start": [3]}],
        },
        {},
    ),
    "texts": ("texts", {"text": ["It rains."]}, {}),
}


def on_hub(monkeypatch: pytest.MonkeyPatch, columns: dict[str, list[Any]], classes: dict[str, Any]) -> None:
    """Replace every hub data set with this one."""
    data = Dataset.from_dict(columns)
    data = data.cast(Features({**data.features, **classes}))
    monkeypatch.setattr("bistil_ds.text.hub.load_dataset", lambda name, config, split, **_: data)


@pytest.mark.parametrize("name", HUB)
def test_a_hub_dataset_reads_as_the_file_of_the_same_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    kind, columns, classes = HUB[name]
    reader, file, text = FILES[kind]
    (of_file,) = read_all(reader, write(tmp_path / file, text))
    on_hub(monkeypatch, columns, classes)
    (of_hub,) = read_all(reader, "org/some:en:test")
    assert of_hub.place == Place("org/some, split test", 1)
    assert values_of(of_file) == values_of(of_hub)


def test_columns_of_a_hub_dataset_may_have_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = TOKENS | {"labels": [["B-PER", "O"]]}
    on_hub(monkeypatch, columns, {})
    (sentence,) = read_all(read_tagged, "org/some", columns={"tags": "labels"})
    assert sentence.tags == ("B-PER", "O")
    expected = r"no column tags or ner_tags \(it has 'tokens', 'labels'\); name it with --columns tags=NAME"
    with pytest.raises(InputError, match=expected):
        read_all(read_tagged, "org/some")


WRONG: dict[str, tuple[Reader, dict[str, list[Any]], dict[str, Any], str]] = {
    "no rows": (read_texts, {"text": []}, {"text": Value("string")}, "has no rows"),
    "null text": (read_texts, {"text": ["a", None]}, {}, "row 2: text is None"),
    "unequal": (read_tagged, TOKENS | {"tags": [["O"]]}, {}, "row 1: 2 tokens and 1 tags"),
    "no list": (read_tagged, {"tokens": ["It rains"], "tags": ["O"]}, {}, "row 1: column tokens is 'It rains'"),
    "other scheme": (read_tagged, TOKENS | {"tags": [["O", "X"]]}, {}, "row 1, token 2: tag 'X'; expected O"),
    "no tag": (read_upos, TOKENS | {"upos": [[0, -1]]}, {"upos": [names("X")]}, "row 1, token 2: UPOS is '-'"),
    "no tree": (
        read_trees,
        TOKENS | {"upos": [["X", "X"]], "head": [["None", "0"]], "deprel": [["dep", "root"]]},
        {},
        "row 1, word 1: HEAD is 'None'",
    ),
    "lost heads": (
        read_trees,
        TOKENS | {"upos": [["X", "X"]], "head": [["0"]], "deprel": [["dep", "root"]]},
        {},
        "row 1: 2 tokens but 1 in column head",
    ),
    "answer": (
        read_questions,
        {**{k: ["a"] for k in ("id", "question", "context")}, "answers": [{"text": ["a"], "answer_start": [0.5]}]},
        {},
        "row 1 (id 'a').answers[0]: answer_start is 0.5; expected the number",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_row_of_a_hub_dataset_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    reader, columns, classes, expected = WRONG[name]
    on_hub(monkeypatch, columns, classes)
    with pytest.raises(InputError) as caught:
        list(reader("org/some", ReadOptions("--train_file")))
    assert str(caught.value).startswith("--train_file: org/some, split train")
    assert expected in str(caught.value)


def test_a_hub_pair_without_label_is_left_out_as_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    on_hub(
        monkeypatch,
        {"premise": ["A", "A"], "hypothesis": ["B", "C"], "label": [-1, 0]},
        {"label": names("neutral")},
    )
    assert [pair.hypothesis for pair in read_all(read_pairs, "org/some")] == ["C"]


def test_a_hub_question_without_answers_is_unanswerable(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {k: ["a"] for k in ("id", "question", "context")} | {"answers": [{"text": [], "answer_start": []}]}
    on_hub(monkeypatch, columns, {})
    assert read_all(read_questions, "org/some")[0].answers == ()


@each
def test_a_hub_dataset_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("offline\nfor good")

    monkeypatch.setattr("bistil_ds.text.hub.load_dataset", fail)
    assert refusal(FILES[name][0], "org/some").endswith("as a hub data set it cannot be loaded: offline")
