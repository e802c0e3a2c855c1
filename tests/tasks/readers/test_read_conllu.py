"""Test that CoNLL-U is read as Universal Dependencies defines it, and that violations are refused with their line."""

from __future__ import annotations

from pathlib import Path
from random import Random

import conllu
import pytest
from reading import read_all, refusal, write
from task_files.trees import make_conllu

from bistil_ds.tasks.examples import Place, TaggedSentence, Tree
from bistil_ds.tasks.readers import read_trees, read_upos


def word(number: int | str, form: str, upos: str, head: int | str, relation: str) -> str:
    return f"{number}\t{form}\t_\t{upos}\t_\t_\t{head}\t{relation}\t_\t_\n"


COMMENTS = "# sent_id = 1\n# text = Vámonos a casa\n"
RANGE = word("1-2", "Vámonos", "_", "_", "_")
WORDS = [
    word(1, "Vamos", "VERB", 0, "root"),
    word(2, "nos", "PRON", 1, "expl:pv"),
    word(3, "a", "ADP", 4, "case"),
    word(4, "casa", "NOUN", 1, "obl"),
]
EMPTY = word("4.1", "vacío", "VERB", "_", "_")
FIRST = COMMENTS + RANGE + "".join(WORDS) + EMPTY
SECOND = word(1, "10 000", "NUM", 0, "root")


def test_words_are_read_and_multiword_tokens_empty_nodes_and_subtypes_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conllu", f"{FIRST}\n{SECOND}\n")
    first = Tree(
        ("Vamos", "nos", "a", "casa"),
        ("VERB", "PRON", "ADP", "NOUN"),
        (0, 1, 4, 1),
        ("root", "expl", "case", "obl"),
        Place(str(path), 4),
    )
    assert read_all(read_trees, path) == [first, Tree(("10 000",), ("NUM",), (0,), ("root",), Place(str(path), 10))]
    assert read_all(read_upos, path)[0] == TaggedSentence(first.words, first.upos, first.place)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.rstrip("\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\n\n" + text.replace("\n\n", "\n\n\n\n"),
    ],
    ids=["no empty line at the end", "byte order mark", "CRLF", "more empty lines"],
)
def test_harmless_differences_of_files_make_no_difference(tmp_path: Path, change: object) -> None:
    text = f"{FIRST}\n{SECOND}\n"
    plain = read_all(read_trees, write(tmp_path / "a.conllu", text))
    changed = read_all(read_trees, write(tmp_path / "b.conllu", change(text)))  # type: ignore[operator]
    assert [(t.words, t.heads, t.relations) for t in changed] == [(t.words, t.heads, t.relations) for t in plain]


@pytest.mark.parametrize("seed", range(20))
def test_words_tags_and_trees_are_those_that_the_package_conllu_reads(tmp_path: Path, seed: int) -> None:
    text = f"{FIRST}\n{SECOND}\n" + make_conllu(Random(seed))
    path = write(tmp_path / "a.conllu", text)
    expected = []
    for sentence in conllu.parse(text):
        words = sentence.filter(id=lambda number: isinstance(number, int))
        forms, upos, heads = ([word[name] for word in words] for name in ("form", "upos", "head"))
        expected.append((forms, upos, heads, [word["deprel"].partition(":")[0] for word in words]))
    assert [tuple(map(list, (t.words, t.upos, t.heads, t.relations))) for t in read_all(read_trees, path)] == expected
    assert [(list(t.words), list(t.tags)) for t in read_all(read_upos, path)] == [each[:2] for each in expected]


@pytest.mark.parametrize(
    "numbers", [("0.1", 1, 2), (1, "1.1", "1.2", 2), ("1-1", 1, "2-2", 2), ("1-2", 1, "1.1", 2), (1, 2, "2.1")]
)
def test_numbers_of_words_tokens_and_empty_nodes_may_run_so(tmp_path: Path, numbers: tuple[int | str, ...]) -> None:
    lines = [word(n, "x", "X", *((n - 1, "dep" if n > 1 else "root") if isinstance(n, int) else "__")) for n in numbers]
    assert read_all(read_trees, write(tmp_path / "a.conllu", "".join(lines)))[0].heads == (0, 1)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((2,), "line 1: ID is '2'; expected 1"),
        ((1, 3), "line 2: ID is '3'; expected 2"),
        ((1, 1), "line 2: ID is 1 again; expected 2, or an empty line before a new sentence"),
        (("01",), "line 1: ID is '01'"),
        (("١",), "line 1: ID is"),
        (("x",), "line 1: ID is 'x'"),
        ((1, 2, "1-2"), "line 3: ID is 1-2; a multiword token stands before its first word, here 3-N"),
        (("2-1", 1, 2), "line 1: ID is 2-1"),
        (("1-3", 1, 2), "line 3: the sentence ends after word 2; expected word 3"),
        (("1-2", 1, "2-3", 2, 3), "line 3: ID is 2-3; it overlaps the multiword token that ends with word 2"),
        ((1, "2.1", 2), "line 2: ID is 2.1; an empty node here is 1.1"),
        ((1, "1.2", 2), "line 2: ID is 1.2; an empty node here is 1.1"),
        (("0.1",), "line 1: the sentence ends after word 0; expected at least one word"),
    ],
)
def test_numbers_out_of_order_are_refused(tmp_path: Path, numbers: tuple[int | str, ...], expected: str) -> None:
    lines = [word(n, "x", "X", *((n - 1, "dep" if n > 1 else "root") if isinstance(n, int) else "__")) for n in numbers]
    path = write(tmp_path / "a.conllu", "".join(lines))
    assert expected in refusal(read_trees, path)
    assert expected in refusal(read_upos, path)


def test_a_word_renumbered_as_an_empty_node_is_not_dropped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conllu", SECOND + word("1.1", "lost", "NOUN", 1, "obj"))
    assert "line 2: ID is 1.1, not a word's, but HEAD and DEPREL are not _" in refusal(read_trees, path)


TREES = {
    "two roots": ([(0, "root"), (0, "root")], "line 4: a second root (HEAD 0); the first is word 1"),
    "no root": ([(2, "dep"), (1, "dep")], "line 3: the sentence that begins here has no root"),
    "itself": ([(0, "root"), (2, "dep")], "line 4: HEAD 2 is the word itself"),
    "beyond": ([(0, "root"), (3, "dep")], "line 4: HEAD 3 is not in this sentence of 2 words"),
    "negative": ([(0, "root"), (-1, "dep")], "line 4: HEAD is '-1'"),
    "fullwidth digit": ([(0, "root"), ("１", "dep")], "line 4: HEAD is"),
    "endless": ([(0, "root"), ("1" * 5000, "dep")], "line 4: HEAD is '1111111111111111111111111111111111111111…"),
    "head without root": ([(0, "dep"), (1, "dep")], "line 3: HEAD 0 with relation 'dep'; root goes with HEAD 0 only"),
    "root without head 0": ([(0, "root"), (1, "root")], "line 4: HEAD 1 with relation 'root'"),
    "circle": ([(0, "root"), (3, "dep"), (4, "dep"), (2, "dep")], "line 4: the HEADs from this word run in a circle"),
    "circle reached": ([(0, "root"), (3, "dep"), (4, "dep"), (3, "dep")], "line 5: the HEADs from this word run"),
    "no head": ([(0, "root"), ("_", "dep")], "line 4: HEAD is _, so the word is in no tree"),
    "no relation": ([(0, "root"), (1, "_")], "line 4: DEPREL is '_'"),
    "subtype only": ([(0, "root"), (1, ":pass")], "line 4: DEPREL is ':pass'"),
}


@pytest.mark.parametrize("name", TREES)
def test_what_is_not_one_tree_is_refused_for_parsing_only(tmp_path: Path, name: str) -> None:
    arcs, expected = TREES[name]
    lines = [word(number, "x", "X", head, relation) for number, (head, relation) in enumerate(arcs, 1)]
    path = write(tmp_path / "a.conllu", "# one\n# two\n" + "".join(lines) + "\n" + SECOND)
    assert expected in refusal(read_trees, path)
    assert len(read_all(read_upos, path)) == 2


LINES = {
    "nine columns": ("1\tx\t_\tX\t_\t_\t0\troot\t_\n", "line 1: 9 tab-separated columns; CoNLL-U has 10"),
    "spaces for tabs": (WORDS[0].replace("\t", "  "), "line 1: 1 tab-separated columns"),
    "empty column": (WORDS[0].replace("VERB", ""), "line 1: UPOS is empty; CoNLL-U writes _ for nothing"),
    "old tag": (WORDS[0].replace("VERB", "CONJ"), "line 1: UPOS is 'CONJ'; expected one of the 17 universal tags"),
    "form of spaces": (WORDS[0].replace("Vamos", " "), "line 1: FORM ' ' begins or ends with a space"),
    "comments only": (COMMENTS, "line 1: comments without a sentence"),
    "comments at the end": (SECOND + "\n" + COMMENTS, "line 3: comments without a sentence"),
    "comment inside": (WORDS[0] + COMMENTS + SECOND, "line 2: a comment inside a sentence"),
    "line of spaces": (SECOND + "  \n" + SECOND, "line 2: only spaces; leave the line between two sentences empty"),
    "NUL": (WORDS[0].replace("a", "\0"), "line 1 has a NUL"),
    "UTF-16": (FIRST.encode("utf-16"), "line 1 is not UTF-8 (byte 0xff)"),
    "Latin-1": (FIRST.encode("latin-1"), "line 2 is not UTF-8 (byte 0xe1)"),
    "old Mac lines": (FIRST.replace("\n", "\r"), "line 1 has a carriage return inside"),
    "no end": ("".join(word(n, "x", "X", n - 1, "dep") for n in range(1, 10_002)), "no empty line since line 1"),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_that_are_not_as_the_format_says_are_refused(tmp_path: Path, name: str) -> None:
    content, expected = LINES[name]
    path = write(tmp_path / "a.conllu", content)
    assert expected in refusal(read_trees, path)
    assert expected in refusal(read_upos, path)


def test_a_missing_tag_is_refused_for_tagging_only(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conllu", SECOND.replace("NUM", "_"))
    assert read_all(read_trees, path)[0].upos == ("_",)
    assert "line 1: UPOS is '_'; expected one of the 17 universal tags" in refusal(read_upos, path)


def test_the_label_map_renames_relations_without_subtype_and_tags(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conllu", FIRST.replace("PRON", "CONJ"))
    assert read_all(read_upos, path, label_map={"CONJ": "CCONJ"})[0].tags[1] == "CCONJ"
    path = write(tmp_path / "b.conllu", FIRST)
    assert read_all(read_trees, path, label_map={"expl": "obj"})[0].relations[1] == "obj"


@pytest.mark.parametrize(("old", "new"), [("expl:pv", "obj"), ("expl", "obj:x")])
def test_a_label_map_of_subtypes_is_refused_since_none_are_read(tmp_path: Path, old: str, new: str) -> None:
    path = write(tmp_path / "a.conllu", FIRST)
    assert f"--label_map {old}={new}: relations are read without" in refusal(read_trees, path, label_map={old: new})


def test_a_sentence_is_given_before_the_next_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conllu", f"{FIRST}\nbroken\n")
    from bistil_ds.tasks import ReadOptions

    assert next(read_trees(str(path), ReadOptions())).words[0] == "Vamos"
