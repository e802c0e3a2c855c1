"""Test that tags of every scheme mean the same entities, predicted or to be learned."""

from __future__ import annotations

import pytest
from tiny import unigram_tokenizer

from bistil_ds.errors import InputError
from bistil_ds.models.head import IGNORED
from bistil_ds.tasks import find_task
from bistil_ds.tasks.examples import Place, TaggedSentence

# labels of a model, its tags for GOLD, and what it names them where it has the tags
GOLD = "B-PER I-PER I-PER O B-LOC B-LOC I-LOC O B-PER"
CONLL_2003 = ("B-LOC", "B-MISC", "B-ORG", "I-LOC", "I-MISC", "I-ORG", "I-PER", "O")
SCHEMES: dict[str, tuple[tuple[str, ...], str]] = {
    "IOB2": (("O", "B-PER", "I-PER", "B-LOC", "I-LOC"), GOLD),
    "IOB1": (CONLL_2003, "I-PER I-PER I-PER O I-LOC B-LOC I-LOC O I-PER"),
    "BIOES": (
        ("O", "B-PER", "I-PER", "E-PER", "S-PER", "B-LOC", "E-LOC", "S-LOC"),
        "B-PER I-PER E-PER O S-LOC B-LOC E-LOC O S-PER",
    ),
    "BILOU": (
        ("O", "B-PER", "I-PER", "L-PER", "U-PER", "B-LOC", "L-LOC", "U-LOC"),
        "B-PER I-PER L-PER O U-LOC B-LOC L-LOC O U-PER",
    ),
    "BMES": (
        ("O", "B-PER", "M-PER", "E-PER", "S-PER", "B-LOC", "E-LOC", "S-LOC"),
        "B-PER M-PER E-PER O S-LOC B-LOC E-LOC O S-PER",
    ),
}


def sentence(tags: str, meanings: dict[str, str] | None = None) -> TaggedSentence:
    words = ("bake",) * len(tags.split())
    return TaggedSentence(words, tuple(tags.split()), Place("t.txt", 3), meanings or {})


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_model_of_any_scheme_is_scored_by_its_entities_and_learns_its_own_tags(scheme: str) -> None:
    labels, tags = SCHEMES[scheme]
    ner, gold = find_task("ner"), sentence(GOLD)
    ner.check_labels([gold], labels, "--test_file")
    assert ner.counts(gold, tags.split(), None).tolist() == [4, 4, 4]
    (row,) = ner.features([gold], unigram_tokenizer(), labels, 64, training=True)
    assert [labels[number] for number in row["labels"] if number != IGNORED] == tags.split()


IO = {
    "types with I-": ("O", "I-PER", "I-LOC"),
    "types alone": ("O", "PER", "LOC"),
    "another type": ("O", "PER", "LOC", "X"),
}


@pytest.mark.parametrize("name", IO)
def test_a_model_without_b_cannot_part_neighbours_and_all_else_counts(name: str) -> None:
    labels, ner, gold = IO[name], find_task("ner"), sentence(GOLD)
    ner.check_labels([gold], labels, "--test_file")
    (row,) = ner.features([gold], unigram_tokenizer(), labels, 64, training=True)
    tags = [labels[number] for number in row["labels"] if number != IGNORED]
    assert [tag.removeprefix("I-") for tag in tags] == ["PER", "PER", "PER", "O", "LOC", "LOC", "LOC", "O", "PER"]
    assert ner.counts(gold, tags, None).tolist() == [2, 3, 4]


def test_single_words_that_follow_each_other_are_entities_each() -> None:
    gold = sentence("B-PER B-PER")
    for found in ("U-PER U-PER", "S-PER S-PER", "W-PER W-PER", "B-PER B-PER", "L-PER E-PER"):
        assert find_task("ner").counts(gold, found.split(), None).tolist() == [2, 2, 2], found


def test_a_place_in_an_entity_for_which_a_model_has_no_tag_is_not_learned() -> None:
    ner, gold, labels = find_task("ner"), sentence("B-PER I-PER O"), ("O", "B-PER", "B-LOC", "I-LOC")
    ner.check_labels([gold], labels, "--test_file")
    marks = {}
    for training in (True, False):
        (row,) = ner.features([gold], unigram_tokenizer(), labels, 64, training=training)
        marks[training] = [label for label in row["labels"] if label != IGNORED]
    assert marks == {True: [1, 0], False: [1, 0, 0]}


def test_both_tags_of_a_type_may_have_one_name() -> None:
    gold = sentence("B-PER I-PER O B-PER B-PER", {"LABEL_0": "O", "LABEL_1": "I-PER"})
    labels = ("LABEL_0", "LABEL_1")
    find_task("ner").check_labels([gold], labels, "--test_file")
    answer = [labels[number] for number in (1, 1, 0, 1, 1)]
    assert find_task("ner").counts(gold, answer, None).tolist() == [1, 2, 3]


@pytest.mark.parametrize("labels", [CONLL_2003, (*CONLL_2003, "[CLS]")])
def test_entities_are_never_advised_away_where_the_model_knows_their_type(labels: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"DATE=O$"):
        find_task("ner").check_labels([sentence("B-DATE")], labels, "--test_file")
    if "[CLS]" in labels:  # this label could stand for B-PER, for all we know
        with pytest.raises(InputError, match=r"tag 'B-PER' .*\[CLS\]\)$"):
            find_task("ner").check_labels([sentence("B-PER")], labels, "--test_file")
