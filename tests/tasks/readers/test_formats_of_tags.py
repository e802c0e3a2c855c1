"""Test that the formats in which tagged data is published are recognised, and that what is ambiguous is asked for.

The texts are ours; their form is that of the data set after which each is named.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reading import FLAG, Reader, read_all, refusal, write

from bistil_ds.errors import Notice
from bistil_ds.tasks.readers import read_tagged, read_trees, read_upos

WORDS, TAGS = ("Ada", "likes", "Oslo"), ("B-PER", "O", "B-LOC")
SECOND, NONE = ("It", "rains"), ("O", "O")


def rows(template: str, border: str = "") -> str:
    """Return the two sentences, a line for each word; the template has {at}, {word}, {tag} and {pos}."""
    text = ""
    for words, tags in ((WORDS, TAGS), (SECOND, NONE)):
        for at, (word, tag) in enumerate(zip(words, tags)):
            pos = "VERB" if word in ("likes", "rains") else "NOUN"
            text += template.format(at=at, next=at + 1, word=word, tag=tag, pos=pos) + "\n"
        text += border + "\n"
    return text


ENTITIES = {
    "CoNLL-2002": rows("{word} N {tag}"),
    "CoNLL-2003": "-DOCSTART- -X- -X- O\n\n" + rows("{word} NNP I-NP {tag}"),
    "CoNLL-2003, with document columns": "-DOCSTART- -X- O O\n\n" + rows("{word} NNP B-VP {tag}"),
    "CoNLL-2003 in German": "-DOCSTART- -X- -X- -X- O\n\n" + rows("{word} {word} NN I-NC {tag}"),
    "CoNLL-2003 with an index": rows("{next} {word} NNP I-NP {tag}"),
    "an index from 0": rows("{at}\t{word}\t{tag}"),
    "UNER": "# newdoc id = n01\n# sent_id = n01-1\n# text = Ada O\n" + rows("{next}\t{word}\t{tag}\t-\t-"),
    "UNER, three columns": rows("{next}\t{word}\t{tag}"),
    "WikiAnn": rows("en:{word}\t{tag}"),
    "MultiCoNER": "# id 5239d808-f300 domain=en\n" + rows("{word} _ _ {tag}"),
    "MasakhaNER": rows("{word} {tag}"),
    "FiNER, nothing nested": rows("{word}\t{tag}\tO"),
    "GermEval 2014, nothing nested": "#\tn-tv.de vom 26.02.2005 [2005-02-26]\n" + rows("{next}\t{word}\t{tag}\tO"),
    "aligned by spaces": rows("{word}   NNP  {tag}"),
    "spaces at the end": rows("{word} {tag} "),
    "CRLF": rows("{word}\t{tag}").replace("\n", "\r\n"),
    "a byte order mark": "\ufeff" + rows("{word}\t{tag}"),
    "borders with spaces": rows("{word} {tag}", border=" \t "),
    "JSON lines": "".join(
        json.dumps({"id": 1, "tokens": w, "ner_tags": t}) + "\n" for w, t in ((WORDS, TAGS), (SECOND, NONE))
    ),
    "a JSON list": json.dumps([{"words": WORDS, "tags": TAGS}, {"words": SECOND, "tags": NONE}], indent=1),
    "an export with data": json.dumps({"data": [{"tokens": WORDS, "tags": TAGS}, {"tokens": SECOND, "tags": NONE}]}),
}
UNIVERSAL = {
    "MasakhaPOS": rows("{word} {pos}"),
    "word, universal and other tag": rows("{word}\t{pos}\tXY"),
    "an index": rows("{next}\t{word}\t{pos}"),
    "comments": "# text = It\n" + rows("{word}\t{pos}"),
    "CoNLL-U by its columns": rows("{next}\t{word}\t_\t{pos}\t_\t_\t0\troot\t_\t_"),
    "JSON lines": "".join(
        json.dumps({"tokens": words, "upos_tags": ["NOUN", "VERB", "NOUN"][: len(words)]}) + "\n"
        for words in (WORDS, SECOND)
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ENTITIES)
def test_entities_are_read_from_every_format(tmp_path: Path, name: str) -> None:
    found = read_all(read_tagged, write(tmp_path / "a.data", ENTITIES[name]))
    assert [(one.words, one.tags) for one in found] == [(WORDS, TAGS), (SECOND, NONE)]


@pytest.mark.parametrize("name", UNIVERSAL)
def test_universal_tags_are_read_from_every_format(tmp_path: Path, name: str) -> None:
    found = read_all(read_upos, write(tmp_path / "a.data", UNIVERSAL[name]))
    assert [(one.words, one.tags) for one in found] == [(WORDS, ("NOUN", "VERB", "NOUN")), (SECOND, ("NOUN", "VERB"))]


def test_classes_by_number_are_named_by_the_label_map(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", json.dumps({"tokens": WORDS, "ner_tags": [1, 0, 3]}))
    assert "tag '1'; expected O, B-TYPE or I-TYPE" in refusal(read_tagged, path)
    label_map = {"0": "O", "1": "B-PER", "2": "I-PER", "3": "B-LOC"}
    assert read_all(read_tagged, path, label_map=label_map)[0].tags == TAGS
    path = write(tmp_path / "b.jsonl", json.dumps({"tokens": WORDS, "upos": [7, 16, 7]}))
    assert read_all(read_upos, path, label_map={"7": "NOUN", "16": "VERB"})[0].tags == ("NOUN", "VERB", "NOUN")


def test_words_that_look_like_tags_comments_or_numbers_are_words(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "# O\n1 O\nB-52 O\n\n2 B-PER\n# I-PER\n")
    assert [one.words for one in read_all(read_tagged, path)] == [("#", "1", "B-52"), ("2", "#")]
    path = write(tmp_path / "b.txt", "# O\n")
    assert [one.words for one in read_all(read_tagged, path)] == [("#",)]
    path = write(tmp_path / "c.txt", "1 CD O\n2 CD O\n\nsome DT O\nmen NN O\n")
    assert [one.words for one in read_all(read_tagged, path)] == [("1", "2"), ("some", "men")]
    path = write(tmp_path / "e.txt", "1\t1914\tO\t-\n2\t1918\tO\t-\n\n1\tAda\tB-PER\t-\n")
    assert [one.words for one in read_all(read_tagged, path)] == [("1914", "1918"), ("Ada",)]
    for comments in ("# a comment of some words\n", "# text = Ada saw O\n"):
        assert "holds no sentence" in refusal(read_tagged, write(tmp_path / "d.txt", comments))


def test_a_damaged_row_that_begins_with_a_hash_is_no_comment(tmp_path: Path) -> None:
    for row in ("#\tB-LOC\tAda\tO", "#\tB_LOC", "#O\tO\tO"):
        assert "line 3: " in refusal(read_tagged, write(tmp_path / "a.txt", f"Ada\tO\n\n{row}\nwon\tO\n"))


NESTED = "1\tReal\tB-ORG\tB-LOC\n2\tMadrid\tI-ORG\tI-LOC\n3\twon\tO\tO\n"


def test_tags_come_first_only_where_that_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", rows("{tag}\t{word}"))
    assert "line 1: tag 'Ada'" in refusal(read_tagged, path)
    assert [one.words for one in read_all(read_tagged, path, columns={"tags": "1"})] == [WORDS, SECOND]


AMBIGUOUS: dict[str, tuple[Reader, str, str, dict[str, str], tuple[str, ...], tuple[str, ...]]] = {
    "nested tags (GermEval 2014, FiNER)": (
        read_tagged,
        NESTED,
        "columns 3 and 4 hold tags; say which of them are meant, such as --columns tags=3",
        {"tags": "3"},
        ("Real", "Madrid", "won"),
        ("B-ORG", "I-ORG", "O"),
    ),
    "numbers that do not count": (
        read_tagged,
        "7\tAda\tB-PER\n8\tslept\tO\n",
        "column 1 holds numbers or ids that do not count the words; say which column holds the words, such as "
        "--columns tokens=2 tags=3",
        {"tokens": "2", "tags": "3"},
        ("Ada", "slept"),
        ("B-PER", "O"),
    ),
    "ranges among the numbers": (
        read_tagged,
        "1-2\tAdas\tO\n1\tAda\tB-PER\n2\ts\tO\n",
        "column 1 holds numbers or ids that do not count the words",
        {"tokens": "2"},
        ("Adas", "Ada", "s"),
        ("O", "B-PER", "O"),
    ),
    "a number that was lost": (
        read_tagged,
        "1\tAda\tB-PER\n2\tslept\tO\n_\twell\tO\n",
        "column 1 holds numbers or ids that do not count the words",
        {"tokens": "2"},
        ("Ada", "slept", "well"),
        ("B-PER", "O", "O"),
    ),
    "the name of a document": (
        read_tagged,
        "doc-1\tAda\tB-PER\ndoc-1\tslept\tO\n",
        "column 1 holds the same cell in all rows of a sentence; say which column holds the words",
        {"tokens": "2"},
        ("Ada", "slept"),
        ("B-PER", "O"),
    ),
    "ids": (
        read_tagged,
        "t1\tAda\tB-PER\nt2\tslept\tO\n",
        "column 1 holds numbers or ids that do not count the words",
        {"tokens": "2"},
        ("Ada", "slept"),
        ("B-PER", "O"),
    ),
    "ids behind an index": (
        read_tagged,
        "1\ts7-1\tAda\tB-PER\n2\ts7-2\tslept\tO\n",
        "column 2 holds numbers or ids that do not count the words; say which column holds the words, such as "
        "--columns tokens=3 tags=4",
        {"tokens": "3"},
        ("Ada", "slept"),
        ("B-PER", "O"),
    ),
    "parts of speech before words": (
        read_tagged,
        "NNP\tAda\tB-PER\nVBD\tsaw\tO\nNNP\tOslo\tB-LOC\nVBD\tslept\tO\nNNP\tKoç\tB-PER\n",
        "column 1 holds only 2 different cells (column 2: 5); say which column holds the words, such as "
        "--columns tokens=2 tags=3",
        {"tokens": "2"},
        ("Ada", "saw", "Oslo", "slept", "Koç"),
        ("B-PER", "O", "B-LOC", "O", "B-PER"),
    ),
    "two columns of universal tags": (
        read_upos,
        "Ada\tNOUN\tPROPN\nslept\tVERB\tVERB\n",
        "columns 2 and 3 hold tags; say which of them are meant, such as --columns upos=2",
        {"upos": "3"},
        ("Ada", "slept"),
        ("PROPN", "VERB"),
    ),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_the_cells_do_not_say_is_asked_for(tmp_path: Path, name: str) -> None:
    reader, text, expected, columns, words, tags = AMBIGUOUS[name]
    path = write(tmp_path / "a.tsv", text)
    assert expected in refusal(reader, path)
    (found,) = read_all(reader, path, columns=columns)
    assert (found.words, found.tags) == (words, tags)


def test_where_another_column_looks_more_like_words_a_notice_says_what_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "NNP\tAda\tB-PER\nVBD\tsaw\tO\nNNP\tOslo\tB-LOC\n")
    with pytest.warns(Notice) as caught:
        assert read_all(read_tagged, path)[0].words == ("NNP", "VBD", "NNP")
    read = "column 1 is read as words ('NNP'), column 3 as tags; if column 2 ('Ada') holds the words, give"
    assert [str(one.message) for one in caught] == [f"{FLAG}: {path}: {read} --columns tokens=2 tags=3"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("tokens", ["1", "2"])
def test_what_was_said_needs_no_notice(tmp_path: Path, tokens: str) -> None:
    path = write(tmp_path / "a.tsv", "NNP\tAda\tB-PER\nVBD\tsaw\tO\nNNP\tOslo\tB-LOC\n")
    words = ("NNP", "VBD", "NNP") if tokens == "1" else ("Ada", "saw", "Oslo")
    assert read_all(read_tagged, path, columns={"tokens": tokens})[0].words == words


WRONG = {
    "no number": ({"tags": "ner_tags"}, "has 4 columns without a header; expected --columns tags=NUMBER, from 1"),
    "no such column": ({"tags": "5"}, "has 4 columns without a header"),
    "from 0": ({"tokens": "0"}, "expected --columns tokens=NUMBER, from 1"),
    "one for both": ({"tokens": "2", "tags": "2"}, "--columns tokens=2 tags=2: one column cannot hold both"),
    "no such name": ({"word": "1"}, "--columns word=1: the columns here are tokens, tags"),
}


@pytest.mark.parametrize("name", WRONG)
def test_columns_that_are_not_there_are_refused(tmp_path: Path, name: str) -> None:
    columns, expected = WRONG[name]
    assert expected in refusal(read_tagged, write(tmp_path / "a.tsv", NESTED), columns=columns)


def test_of_two_columns_the_words_are_not_read_as_their_tags(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "B-LOC Oslo\nO sleeps\n")
    expected = "a.txt: --columns tokens=2 leaves only column 1 for the tags; say so: tags=1"
    assert expected in refusal(read_tagged, path, columns={"tokens": "2"})
    for columns in ({"tokens": "2", "tags": "1"}, {"tags": "1"}):
        (found,) = read_all(read_tagged, path, columns=columns)
        assert (found.words, found.tags) == (("Oslo", "sleeps"), ("B-LOC", "O"))


def test_a_wrong_tag_in_one_of_two_columns_does_not_make_the_other_the_right_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", NESTED.replace("I-ORG", "I_ORG"))
    assert "columns 3 and 4 hold tags" in refusal(read_tagged, path)
    path = write(tmp_path / "b.txt", "EU NNP I-NP B-ORG\nsays VBZ I-VP O\nno RB I-NP B_O\n")
    assert "line 3: tag 'B_O'" in refusal(read_tagged, path)


@pytest.mark.parametrize("language", ["ceb", "arz", "simple", "als", "nds", "nds-nl", "ckb", "zh-min-nan", "zh-TW"])
def test_a_mark_may_be_any_language_of_wikiann(tmp_path: Path, language: str) -> None:
    path = write(tmp_path / "a.txt", rows(f"{language}:{{word}}\t{{tag}}"))
    assert [one.words for one in read_all(read_tagged, path, language=language)] == [WORDS, SECOND]
    path = write(tmp_path / "b.txt", "The:x\tO\nadd:y\tO\nout:z\tO\ndev:w\tO\n")  # one word of four has a code
    assert read_all(read_tagged, path)[0].words == ("The:x", "add:y", "out:z", "dev:w")


def test_columns_without_tags_of_the_task_are_never_taken_for_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n")
    label_map = {"B-ORG": "PROPN"}  # one cell of two: a column of entities is not taken by halves
    assert "columns 2 to 4 hold no tags of this task; say which do, such as --columns upos=2" in refusal(
        read_upos, path
    )
    assert "columns 2 to 4 hold no tags" in refusal(read_upos, path, label_map=label_map)
    label_map = {"NNP": "PROPN", "VBZ": "VERB"}
    (found,) = read_all(read_upos, path, columns={"upos": "2"}, label_map=label_map)
    assert found.tags == ("PROPN", "VERB")


def test_conllu_has_fixed_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conllu", rows("{next}\t{word}\t_\t{pos}\t_\t_\t0\troot\t_\t_"))
    for reader in (read_upos, read_trees):
        assert "--columns upos=5: this format has fixed columns" in refusal(reader, path, columns={"upos": "5"})
    path = write(tmp_path / "b.conllu", json.dumps({"tokens": SECOND, "pos": ["PRON", "VERB"]}))
    assert read_all(read_upos, path, columns={"upos": "pos"})[0].tags == ("PRON", "VERB")


def test_words_marked_with_languages_are_chosen_by_language(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "de:Ada\tB-PER\n\ntr:Oslo\tB-LOC\ntr::\tO\n")
    with pytest.warns(Notice, match=r"a.txt: read 1 rows in 'tur'; left out 1 in other languages \(de\)"):
        assert [one.words for one in read_all(read_tagged, path, language="tur")] == [("Oslo", ":")]
    assert len(read_all(read_tagged, path)) == 2
    assert "a.txt has rows in de, tr, and none in 'fi'; name" in refusal(read_tagged, path, language="fi")
    path = write(tmp_path / "b.txt", "de:Ada\tB-PER\nde:slept\tO\nOslo\tO\n")
    assert "line 3: 'Oslo' has no language before it" in refusal(read_tagged, path)
    path = write(tmp_path / "c.txt", "de:Ada\tB-PER\ntr:Oslo\tO\n")
    assert "line 1: the sentence has words marked de and tr" in refusal(read_tagged, path)
