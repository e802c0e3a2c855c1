"""Read CoNLL-U (https://universaldependencies.org/format.html): trees for parsing, or words with UPOS tags for tagging.

The readers yield syntactic words. Multiword tokens (`3-4`) and empty nodes (`3.1`) are checked and then left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place, TaggedSentence, Tree
from bistil_ds.tasks.labels import map_advice
from bistil_ds.tasks.readers.columns import check_names
from bistil_ds.tasks.readers.conllu_words import FIELDS, Words, words_of_block
from bistil_ds.tasks.readers.hub import strings
from bistil_ds.tasks.readers.json_documents import looks_like_json
from bistil_ds.tasks.readers.lines import at_least_one, lines, quote, sentences
from bistil_ds.tasks.readers.records import records
from bistil_ds.tasks.readers.tagged_rows import TagColumn, TaggedRow, tagged_rows
from bistil_ds.tasks.readers.tree_check import check_tree, universal_relation
from bistil_ds.tasks.task import ReadOptions
from bistil_ds.text.form import bare_name
from bistil_ds.text.specification import HubDataset, parse_specification

UPOS = frozenset(
    {"ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"}
    | {"PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"}
)
UPOS_NAMES = ("upos_tags", "pos_tags", "tags")  # what data sets call their column of universal tags
NUMBER = re.compile(r"0|[1-9][0-9]{0,4}")


def read_trees(source: str, options: ReadOptions) -> Iterator[Tree]:
    """Stream the dependency trees of CoNLL-U, or of JSON or a hub data set with `tokens`, `upos`, `head`, `deprel`.

    The reader drops the subtypes of relations, then renames relations as `options.label_map` says. UPOS may be `_`.
    Words may contain spaces.

    Raises:
        InputError: the data does not follow the format; a word has no HEAD; a sentence is not one tree with one root;
            there is no sentence at all; or `options.label_map` has a relation with a subtype.
    """
    for old, new in options.label_map.items():
        if ":" in old + new:
            raise InputError(
                f"--label_map {old}={new}: relations are read without their subtypes; leave out the colon and the rest"
            )
    for words in _sentences(source, options, ("tokens", "upos", "head", "deprel")):
        for index, tag in enumerate(words.upos):
            if tag not in UPOS and tag != "_":
                raise InputError(
                    f"{words.where(index)}: UPOS is {quote(tag)}; expected one of the 17 universal tags or _"
                )
        heads = tuple([_head(words, index) for index in range(len(words.forms))])
        relations = tuple([_relation(words, index, options) for index in range(len(words.forms))])
        check_tree(heads, relations, words.where)
        yield Tree(tuple(words.forms), tuple(words.upos), heads, relations, words.place)


def read_upos(source: str, options: ReadOptions) -> Iterator[TaggedSentence]:
    """Stream sentences with UPOS tags from CoNLL-U, or from other data with `tokens` and `upos` (see `tagged_rows`).

    A file counts as CoNLL-U if its name ends in `.conllu`, or if its first word has ten tab-separated columns. HEAD and
    DEPREL of words are ignored. `options.label_map` renames tags. A new name need not be a universal tag; it may be
    the evaluated model's name of a tag.

    Raises:
        InputError: the data does not follow its format; a tag is neither one of the 17 universal tags nor a new name
            that `options.label_map` gives; or there is no sentence at all.
    """
    corpus, given = parse_specification(source), options.label_map
    allowed = UPOS.union(given.values())
    found: Iterable[Words | TaggedRow]
    if isinstance(corpus, Path) and _is_conllu(corpus, options.flag):
        found = _sentences(source, options, ("tokens", "upos"))
    else:
        found = tagged_rows(source, options, TagColumn("upos", UPOS_NAMES, lambda cell: cell in UPOS or cell in given))
    for one in found:
        words, tags = (one.forms, one.upos) if isinstance(one, Words) else (one.words, one.tags)
        renamed = tuple([given.get(tag, tag) for tag in tags])
        for index, tag in enumerate(renamed):
            if tag not in allowed:
                raise InputError(
                    f"{one.where(index)}: UPOS is {quote(tag)}; expected one of the 17 universal tags"
                    f"{map_advice(tag, 'X')}"
                )
        yield TaggedSentence(tuple(words), renamed, one.place)


def _is_conllu(path: Path, flag: str) -> bool:
    if bare_name(path).endswith(".conllu"):
        return True
    first = next((line for _, line in lines(path, flag) if line.strip() and not line.startswith("#")), "")
    return first.count("\t") + 1 == len(FIELDS)


def _sentences(source: str, options: ReadOptions, columns: tuple[str, ...]) -> Iterator[Words]:
    corpus = parse_specification(source)
    if isinstance(corpus, HubDataset) or looks_like_json(corpus, options.flag):
        for place, where, row in records(source, options, dict.fromkeys(columns, ())):
            yield _words_of_row(row, where, place)
        return
    check_names(options, ())
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
