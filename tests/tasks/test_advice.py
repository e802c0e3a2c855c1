"""Test that the `--label_map` which an error advises is accepted by the flag and by the reader."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from reading import FLAG

from bistil_ds.commands.evaluate import EvaluationArguments
from bistil_ds.console import cli
from bistil_ds.errors import InputError
from bistil_ds.tasks import ReadOptions, find_task
from bistil_ds.tasks.data import parse_pairs, read_examples
from bistil_ds.tasks.labels import map_advice

CONLLU = "1\tIt\t_\tPRON\t_\t_\t2\tnsubj\t_\t_\n2\trains\t_\tVERB\t_\t_\t0\troot\t_\t_\n"
PAIR = "premise\thypothesis\tlabel\nA\tB\t"
COUNTED = ("LABEL_0", "LABEL_1", "LABEL_2")
UPPER = ("CONTRADICTION", "NEUTRAL", "ENTAILMENT")
NER = ("O", "B-PER", "I-PER")
CASES: dict[str, tuple[str, str, Sequence[str] | None]] = {  # task, content of the file, labels of the model
    "letters without a type": ("ner", "aspirin\tB\ntablets\tI\nhelp\tO\n", None),
    "types without a letter": ("ner", "Ada PER\nsaw O\nOslo LOC\n", None),
    "types of two levels": ("ner", "Ada person-artist\nsaw O\n", None),
    "small letters": ("ner", "Ada b-per\nsaw o\n", None),
    "another sign": ("ner", "Ada B_PER\nsaw O\n", None),
    "a letter alone": ("ner", "Ada B-\n", None),
    "tags by number": ("ner", json.dumps({"tokens": ["Ada", "Lee", "saw"], "ner_tags": [1, 2, 0]}), None),
    "a type that the model does not know": ("ner", "Ada B-PER\nLee I-PER\nnow B-DATE\n", NER),
    "a model with small letters": ("ner", "Ada B-PER\nLee I-PER\nsaw O\n", ("o", "b-per", "i-per")),
    "other tags": ("pos", "Ada NNP\nsaw VBD\n", None),
    "other tags in CoNLL-U": ("pos", CONLLU.replace("PRON", "PRP"), None),
    "upos by number": ("pos", json.dumps({"tokens": ["It", "rains"], "upos": [1, 2]}), None),
    "labels by number": ("nli", PAIR + "1\nC\tD\t0\n", None),
    "labels by number in JSON": ("nli", '{"premise": "A", "hypothesis": "B", "label": 2}', None),
    "a number below zero": ("nli", '{"premise": "A", "hypothesis": "B", "label": -2}', None),
    "unknown labels": ("nli", PAIR + "it follows\nC\tD\tmaybe's\n", None),
    "a model with capitals": ("nli", PAIR + "neutral\nC\tD\tentailment\n", UPPER),
    "a model with capitals, data with others": ("nli", PAIR + "Neutral\nC\tD\tEntailment\n", UPPER),
    "a relation that is not universal": ("dp", CONLLU.replace("nsubj", "sujet"), ("dep", "root")),
    "the same, and a model without dep": ("dp", CONLLU.replace("nsubj", "sujet"), ("obj", "root")),
}


def advice(task: str, path: Path, words: list[str], labels: Sequence[str] | None) -> list[str]:
    """Return the words that the next error advises for the flag; none if there is no error."""
    ns = cli.parse(["--label_map", *words] if words else [], (EvaluationArguments,), "")
    options = ReadOptions(FLAG, {}, parse_pairs(ns.label_map, "--label_map"))
    try:
        examples: list[Any] = read_examples(find_task(task), str(path), options)
        if labels:
            find_task(task).check_labels(examples, labels, FLAG)
    except InputError as error:
        message = str(error)
    else:
        return []
    found = re.search(r"--label_map (.*)$", message)
    assert found, message
    assert message.startswith(FLAG), message  # it blames the file, not what was advised before
    return shlex.split(found[1])


@pytest.mark.parametrize("name", CASES)
def test_who_follows_the_advice_gets_there(tmp_path: Path, name: str) -> None:
    task, text, labels = CASES[name]
    path = tmp_path / "a.data"
    path.write_text(text, encoding="utf-8")
    words: list[str] = []
    while more := advice(task, path, words, labels):
        assert not set(more) & set(words), f"{more} was followed, and is advised again"
        words += more
    assert words, "the file was to be refused"


NAMELESS: dict[str, tuple[str, str, str]] = {  # task, content of the file, what is asked for
    "tags": ("ner", "Ada B-PER\nLee I-PER\nsaw O\n", "B-PER=? I-PER=? O=?"),
    "universal tags": ("pos", CONLLU, "PRON=? VERB=?"),
    "labels": (
        "nli",
        PAIR + "neutral\nC\tD\tentailment\nE\tF\tcontradiction\n",
        "contradiction=? entailment=? neutral=?",
    ),
}


@pytest.mark.parametrize("name", NAMELESS)
def test_what_the_labels_of_a_model_mean_is_asked_for_at_once_where_it_only_counts_them(
    tmp_path: Path, name: str
) -> None:
    task, text, asked = NAMELESS[name]
    path = tmp_path / "a.data"
    path.write_text(text, encoding="utf-8")
    assert advice(task, path, [], COUNTED) == asked.split()
    given = [word.replace("?", f"LABEL_{number}") for number, word in enumerate(asked.split())]
    assert advice(task, path, given[:1], COUNTED) == asked.split()[1:]
    assert advice(task, path, given, COUNTED) == []


@pytest.mark.parametrize("label", ["", " ", "_", "-", "a=b", "neutral\u200b", "x" * 41])
def test_a_label_that_no_flag_can_name_gets_no_advice(label: str) -> None:
    assert map_advice(label, "neutral") == ""


def test_entities_are_scored_by_what_the_models_labels_mean(tmp_path: Path) -> None:
    task = find_task("ner")
    (tmp_path / "a.txt").write_text("Ada B-PER\nLee I-PER\nsaw O\nOslo B-LOC\n")
    label_map = {"O": "LABEL_0", "B-PER": "LABEL_1", "I-PER": "LABEL_2", "B-LOC": "LABEL_3", "I-LOC": "LABEL_4"}
    (example,) = task.read(str(tmp_path / "a.txt"), ReadOptions(label_map=label_map))
    assert example.tags == ("B-PER", "I-PER", "O", "B-LOC")
    task.check_labels([example], tuple(label_map.values()), FLAG)
    answers = {
        ("LABEL_1", "LABEL_2", "LABEL_0", "LABEL_3"): [2, 2, 2],
        ("LABEL_1", "LABEL_0", "LABEL_0", "LABEL_3"): [1, 2, 2],
        ("LABEL_0", "LABEL_0", "LABEL_0", "LABEL_0"): [0, 0, 2],
        ("LABEL_9", "LABEL_9", "LABEL_0", "LABEL_3"): [1, 2, 2],  # a label without a meaning is an entity, and wrong
    }
    for answer, expected in answers.items():
        assert task.counts(example, answer, None).tolist() == expected, answer
    with pytest.raises(InputError, match="--label_map O=LABEL_0: a new model's tags are O, B-TYPE and I-TYPE"):
        task.labels([example])
