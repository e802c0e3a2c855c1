"""Read CoNLL-U (https://universaldependencies.org/format.html): trees for parsing, or words with UPOS tags for tagging.

The readers yield syntactic words. Multiword tokens (`3-4`) and empty nodes (`3.1`) are checked and then left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place, TaggedSentence, Tree
from bistil_ds.tasks.readers.conllu_words import Words, words_of_block
from bistil_ds.tasks.readers.hub import hub_rows, strings
from bistil_ds.tasks.readers.lines import at_least_one, quote, sentences
from bistil_ds.tasks.readers.tree_check import check_tree, universal_relation
from bistil_ds.tasks.task import ReadOptions
from bistil_ds.text.specification import HubDataset, parse_specification

UPOS = frozenset(
    {"ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"}
    | {"PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"}
)
NUMBER = re.compile(r"0|[1-9][0-9]{0,4}")


def read_trees(source: str, options: ReadOptions) -> Iterator[Tree]:
    """Stream the dependency trees of a CoNLL-U file, or of a hub data set with `tokens`, `upos`, `head`, `deprel`.

    Relations lose their subtypes; then `options.label_map` renames them. UPOS may be `_`. Words may contain spaces.

    Raises:
        InputError: the data does not follow the format; a word has no HEAD; a sentence is not one tree under one root;
            there is no sentence at all; or `options.label_map` has a relation with a subtype.
    """
    for old, new in options.label_map.items():
        if ":" in old + new:
            raise InputError(
                f"--label_map {old}={new}: relations are read without their subtypes; leave out the colon and the rest"
            )
    for words in _sentences(source, options, ("tokens", "upos", "head", "deprel")):
        _check_upos(words, words.upos, or_none=True)
        heads = tuple([_head(words, index) for index in range(len(words.forms))])
        relations = tuple([_relation(words, index, options) for index in range(len(words.forms))])
        check_tree(heads, relations, words.where)
        yield Tree(tuple(words.forms), tuple(words.upos), heads, relations, words.place)


def read_upos(source: str, options: ReadOptions) -> Iterator[TaggedSentence]:
    """Stream words with their UPOS tags from a CoNLL-U file, or from a hub data set with `tokens` and `upos`.

    HEAD and DEPREL of words are ignored. `options.label_map` renames tags; the new tags must be universal tags, too.

    Raises:
        InputError: the data does not follow the format, a tag is not one of the 17 universal tags after renaming, or
            there is no sentence at all.
    """
    for words in _sentences(source, options, ("tokens", "upos")):
        tags = [options.label_map.get(tag, tag) for tag in words.upos]
        _check_upos(words, tags, or_none=False)
        yield TaggedSentence(tuple(words.forms), tuple(tags), words.place)


def _sentences(source: str, options: ReadOptions, columns: tuple[str, ...]) -> Iterator[Words]:
    corpus = parse_specification(source)
    if isinstance(corpus, HubDataset):
        for place, where, row in hub_rows(corpus, options, dict.fromkeys(columns, ())):
            yield _words_of_row(row, where, place)
        return
    message = f"{options.flag}: {corpus} holds no sentence; expected CoNLL-U, ten tab-separated columns a word"
    for block in at_least_one(sentences(corpus, options.flag), message):
        yield words_of_block(block, str(corpus), options.flag)


def _words_of_row(row: dict[str, object], where: str, place: Place) -> Words:
    forms = strings(row["tokens"], "tokens", where)
    columns = {}
    for name in ("upos", "head", "deprel"):
        value = row.get(name, ["_"] * len(forms))
        values = [str(item) for item in value] if name == "head" and isinstance(value, list) else value
        columns[name] = strings(values, name, where)
        if len(columns[name]) != len(forms):
            raise InputError(f"{where}: {len(forms)} tokens but {len(columns[name])} in column {name}")
    if not forms or not all(forms):
        raise InputError(f"{where}: no tokens, or an empty one; expected a list of words")
    return Words(forms, columns["upos"], columns["head"], columns["deprel"], place, [], where)


def _check_upos(words: Words, tags: list[str], *, or_none: bool) -> None:
    for index, tag in enumerate(tags):
        if tag not in UPOS and not (or_none and tag == "_"):
            allowed = "one of the 17 universal tags" + (" or _" if or_none else "; rename it with --label_map")
            raise InputError(f"{words.where(index)}: UPOS is {quote(tag)}; expected {allowed}")


def _head(words: Words, index: int) -> int:
    head = words.heads[index]
    if NUMBER.fullmatch(head):
        return int(head)
    if head == "_":
        raise InputError(f"{words.where(index)}: HEAD is _, so the word is in no tree; parsing needs annotated trees")
    raise InputError(f"{words.where(index)}: HEAD is {quote(head)}; expected the number of a word, or 0 at the root")


def _relation(words: Words, index: int, options: ReadOptions) -> str:
    relation = universal_relation(words.relations[index])
    if relation in ("", "_") or relation.split() != [relation]:
        raise InputError(f"{words.where(index)}: DEPREL is {quote(words.relations[index])}; expected a relation")
    return options.label_map.get(relation, relation)
