"""Test that the formats in which sentence pairs are published are recognised, and one language is chosen of several.

The texts are ours; their form is that of the data set after which each is named.
"""

from __future__ import annotations

import csv
import io
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from reading import read_all, refusal, write

from bistil_ds.errors import Notice
from bistil_ds.tasks.readers import json_documents, read_pairs

PAIRS = [("It rains.", 'He said "wet"', "entailment"), ("It rains, hard.", "It is\tdry.", "contradiction")]
PLAIN = [(premise, hypothesis.replace("\t", " "), label) for premise, hypothesis, label in PAIRS]
XNLI = (
    *("language", "gold_label", "sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse"),
    *("sentence2_parse", "sentence1", "sentence2", "promptID", "pairID", "genre", "label1", "label2", "label3"),
    *("label4", "label5", "sentence1_tokenized", "sentence2_tokenized", "match"),
)
MNLI = (
    "index",
    "promptID",
    "pairID",
    "genre",
    "sentence1_binary_parse",
    "sentence1",
    "sentence2",
    "label1",
    "gold_label",
)


def table(names: tuple[str, ...], **more: str) -> str:
    """Return a TSV table with these columns; those that are neither in the pairs nor in `more` hold an x."""
    text = "\t".join(names) + "\n"
    for premise, hypothesis, label in PLAIN:
        found = {"sentence1": premise, "sentence2": hypothesis, "gold_label": label, "label": label, **more}
        found |= {"premise": premise, "hypo": hypothesis, "hypothesis": hypothesis}
        text += "\t".join(found.get(name, "x") for name in names) + "\n"
    return text


def quoted(delimiter: str, header: bool = True) -> str:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerows([("premise", "hypothesis", "label")] * header + PAIRS)
    return file.getvalue()


def objects(names: tuple[str, str, str], **more: Any) -> list[dict[str, Any]]:
    return [dict(zip(names, pair, strict=True)) | more for pair in PAIRS]


FORMATS = {
    "XNLI": (table(XNLI, language="en"), PLAIN),
    "MultiNLI in GLUE": (table(MNLI), PLAIN),
    "XNLI's translated training set": (
        table(("premise", "hypo", "label")).replace("contradiction", "contradictory"),
        PLAIN,
    ),
    "PAWS-X": (table(("id", "sentence1", "sentence2", "label")), PLAIN),
    "XTREME, no header": ("\n".join("\t".join(pair) for pair in PLAIN), PLAIN),
    "empty lines first": ("\n\n" + table(("premise", "hypothesis", "label")), PLAIN),
    "other case": (table(("premise", "hypothesis", "label")).replace("\tc", "\tC").replace("ent", "ENT"), PLAIN),
    "CSV": (quoted(","), PAIRS),
    "CSV, no header": (quoted(",", header=False), PAIRS),
    "CSV with semicolons": (quoted(";"), PAIRS),
    "quoted TSV": (quoted("\t"), PAIRS),
    "MultiNLI, JSON lines": (
        "\n".join(map(json.dumps, objects(("sentence1", "sentence2", "gold_label"), annotator_labels=["neutral"]))),
        PAIRS,
    ),
    "ANLI": (
        "\n".join(map(json.dumps, objects(("context", "hypothesis", "label"), uid=1)))
        .replace('"entailment"', '"e"')
        .replace('"contradiction"', '"c"'),
        PAIRS,
    ),
    "a JSON list": (json.dumps(objects(("premise", "hypothesis", "label"))), PAIRS),
    "a JSON list over lines": (json.dumps(objects(("premise", "hypothesis", "label")), indent=2), PAIRS),
    "an export with data": (json.dumps({"version": "1", "data": objects(("premise", "hypothesis", "label"))}), PAIRS),
}


@pytest.mark.parametrize("suffix", [".data", ".txt"])
@pytest.mark.parametrize("name", FORMATS)
def test_pairs_are_read_from_every_format(tmp_path: Path, name: str, suffix: str) -> None:
    text, expected = FORMATS[name]
    found = read_all(read_pairs, write(tmp_path / f"a{suffix}", text))
    assert [(pair.premise, pair.hypothesis, pair.label) for pair in found] == expected


def test_quoted_cells_may_hold_lines_and_are_placed_by_their_first(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'label,premise,hypothesis\n\nneutral,"It\nrains",A\nneutral,B,C\n')
    assert [(pair.premise, pair.place.line) for pair in read_all(read_pairs, path)] == [("It\nrains", 3), ("B", 5)]


def test_a_file_without_header_may_have_its_columns_numbered(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "7\tneutral\tA\tB\n8\tneutral\tC\tD\n")
    columns = {"premise": "3", "hypothesis": "4", "label": "2"}
    assert [(pair.premise, pair.hypothesis) for pair in read_all(read_pairs, path, columns=columns)] == [
        ("A", "B"),
        ("C", "D"),
    ]
    path = write(tmp_path / "b.tsv", "de\tneutral\tA\tB\ntr\tneutral\tC\tD\n")
    (pair,) = read_all(read_pairs, path, columns={**columns, "language": "1"}, language="tr")
    assert pair.premise == "C"
    path = write(tmp_path / "a.tsv", "7\tneutral\tA\tB\n")
    assert "a.tsv, line 1: --columns has numbers up to 5, of 4 columns" in refusal(
        read_pairs, path, columns={**columns, "label": "5"}
    )


NUMBERED = "sentence1\tsentence2\tlabel\nA\tB\t1\nA\tC\t0\nA\tD\t-1\n"


def test_numbers_are_named_by_the_label_map_and_minus_1_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", NUMBERED)
    with pytest.warns(Notice, match="left out 1 of 3 pairs"):
        found = read_all(read_pairs, path, label_map={"0": "different", "1": "paraphrase"})
    assert [pair.label for pair in found] == ["paraphrase", "different"]
    lines = "\n".join(json.dumps({"premise": "A", "hypothesis": "B", "label": label}) for label in (0, -1))
    with pytest.warns(Notice, match="left out 1 of 2 pairs"):
        (pair,) = read_all(read_pairs, write(tmp_path / "b.jsonl", lines), label_map={"0": "entailment"})
    assert pair.label == "entailment"


SEVERAL = "language\tgold_label\tsentence1\tsentence2\n" + "".join(
    f"{language}\tneutral\t{language} A\tB\n" for language in ("ar", "ar", "de", "tr", "zh")
)


@pytest.mark.parametrize(
    ("language", "premises"),
    [("ar", ["ar A", "ar A"]), ("tur", ["tr A"]), ("de-AT", ["de A"]), ("Chinese", ["zh A"]), ("zh-CN", ["zh A"])],
)
def test_of_several_languages_one_is_read(tmp_path: Path, language: str, premises: list[str]) -> None:
    path = write(tmp_path / "xnli.tsv", SEVERAL)
    with pytest.warns(
        Notice, match=f"read {len(premises)} rows in '{language}'; left out {5 - len(premises)} in other"
    ):
        assert [pair.premise for pair in read_all(read_pairs, path, language=language)] == premises


def test_a_language_that_the_file_has_not_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "xnli.tsv", SEVERAL)
    message = refusal(read_pairs, path, language="xnli")
    assert "xnli.tsv has rows in ar, de, tr, zh, and none in 'xnli'; name the language before the file, as" in message
    assert len(read_all(read_pairs, path)) == 5  # nobody said that it is one language
    path = write(tmp_path / "a.tsv", SEVERAL.replace("zh\t", "\t"))
    assert "line 6: language is ''; expected the code of a language" in refusal(read_pairs, path, language="ar")


def test_the_column_of_the_language_may_have_another_name(tmp_path: Path) -> None:
    pairs = [{"premise": "A", "hypothesis": "B", "label": "neutral", "locale": one} for one in ("de-DE", "en-US")]
    path = write(tmp_path / "a.json", json.dumps({"data": pairs}))
    assert len(read_all(read_pairs, path, language="en", columns={"language": "locale"})) == 1


def test_quoting_under_a_plain_header_is_told(tmp_path: Path) -> None:
    header = "premise\thypothesis\tlabel\n"
    text = 'A\tB\tneutral\n"She said ""yes""."\tB\tneutral\n'
    with pytest.warns(
        Notice, match=r"line 3: a cell has doubled quotes.* \(rows like this: 1\); if it is CSV, put the"
    ):
        assert read_all(read_pairs, write(tmp_path / "a.tsv", header + text))[1].premise == '"She said ""yes""."'
    path = write(tmp_path / "c.tsv", '"premise"\t"hypothesis"\t"label"\n' + text)  # as the notice advises
    assert read_all(read_pairs, path)[1].premise == 'She said "yes".'
    path = write(tmp_path / "b.tsv", header + '"" A "" is "" B ""\t"B"\tneutral\n')  # as in PAWS-X
    with warnings.catch_warnings(action="error"):
        (pair,) = read_all(read_pairs, path)
    assert (pair.premise, pair.hypothesis) == ('"" A "" is "" B ""', '"B"')


def test_a_quoted_cell_may_be_as_long_as_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = csv.field_size_limit(131_072)
    try:
        path = write(tmp_path / "a.csv", f'premise,hypothesis,label\n"{"A" * 200_000}",B,neutral\n')
        assert len(read_all(read_pairs, path)[0].premise) == 200_000
    finally:
        csv.field_size_limit(limit)


def test_json_may_have_spaces_before_its_first_key(tmp_path: Path) -> None:
    for start in ("{ ", "[ { "):
        text = start + json.dumps({"premise": "A", "hypothesis": "B", "label": "neutral"})[1:]
        assert len(read_all(read_pairs, write(tmp_path / "a.data", text + "]" * (start[0] == "[")))) == 1


def test_a_list_with_each_object_on_a_line_is_no_json_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", "[\n" + json.dumps(objects(("premise", "hypothesis", "label"))[0]) + "\n]\n")
    assert len(read_all(read_pairs, path)) == 1


def test_a_list_under_rows_is_not_guessed_at(tmp_path: Path) -> None:
    flat = objects(("premise", "hypothesis", "label"))
    for rows in (flat, [{"row_idx": n, "row": row} for n, row in enumerate(flat)]):  # the second: the hub's rows API
        path = write(tmp_path / "a.json", {"rows": rows})
        assert "line 1: no column premise or sentence1 or context (it has 'rows')" in refusal(read_pairs, path)


def test_values_and_lines_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_documents, "LARGEST_VALUE", 100)
    path = write(tmp_path / "a.json", "[\n" + "1,\n" * 200)
    assert "is one JSON value of over 512 MiB" in refusal(read_pairs, path)
    path = write(tmp_path / "b.json", "[" + " " * 200)
    assert "line 1 is longer than" in refusal(read_pairs, path)
    path = write(tmp_path / "c.tsv", "premise\thypothesis\tlabel\n" + "A" * 17 * 2**20)
    assert "line 2 is longer than 16 MiB" in refusal(read_pairs, path)
