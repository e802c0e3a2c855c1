"""Test the data files of the task commands: names, mixing, label maps."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import unigram_tokenizer

from bistil_ds.errors import InputError, Notice
from bistil_ds.tasks import ReadOptions, find_task
from bistil_ds.tasks.data import make_rows, mix, parse_pairs
from bistil_ds.tasks.examples import Place, Question
from bistil_ds.tasks.sources import parse_sources
from bistil_ds.tuning import data as tuning_data
from bistil_ds.tuning.data import Examples, Part, check_data, read_data
from bistil_ds.tuning.data_request import TaskDataRequest, absolute_sources


def rows(count: int, first: int) -> list[dict[str, int]]:
    return [{"example": first + i} for i in range(count)]


def test_smaller_sources_are_repeated_to_the_size_of_the_largest() -> None:
    mixed = [row["example"] for row in mix([rows(7, 0), rows(3, 100)], upsample=True)]
    assert mixed == [*range(7), 100, 101, 102, 100, 101, 102, 100]


def test_without_upsampling_every_row_comes_once() -> None:
    mixed = [row["example"] for row in mix([rows(4, 0), rows(2, 100)], upsample=False)]
    assert mixed == [0, 1, 2, 3, 100, 101]


def test_a_file_is_called_after_its_language_its_folder_or_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.txt").write_text("x")
    words = ["ha=data/test.txt", "yo/test.txt", "ig.txt", f"{tmp_path}/a=b.txt"]
    found = parse_sources(words, "--test_file")
    assert found == [
        ("ha", "data/test.txt"),
        ("yo", "yo/test.txt"),
        ("ig", "ig.txt"),
        (tmp_path.name, f"{tmp_path}/a=b.txt"),
    ]
    assert parse_sources(["plain:yo/words.csv"], "--train_file") == [("yo", "plain:yo/words.csv")]
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["yo=plain:~/yo.txt", "yo=~/yo.txt", "~/yo/a.txt", "plain:~/yo/a.txt"]
    found = parse_sources(words, "--train_file")
    paths = [f"plain:{tmp_path}/yo.txt", f"{tmp_path}/yo.txt", f"{tmp_path}/yo/a.txt", f"plain:{tmp_path}/yo/a.txt"]
    assert found == [("yo", path) for path in paths]


def test_the_record_names_files_by_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    words = absolute_sources((("ha", "a.txt"), ("yo", "plain:a.txt"), ("ig", "org/name")))
    assert words == [f"ha={tmp_path}/a.txt", f"yo=plain:{tmp_path}/a.txt", "ig=org/name"]


def test_a_hub_data_set_needs_a_language() -> None:
    with pytest.raises(InputError, match=r"--train_file org/name: expected LANGUAGE=FILE"):
        parse_sources(["org/name"], "--train_file")


def test_validation_sets_of_questions_need_the_name_of_a_language() -> None:
    asked = [Question("1", "Who?", "Ada did.", (("Ada", 0),), Place("a.json", 1))]
    train, dev = Part("--train_file", "squad", "a.json", asked), Part("--dev_file", "faq", "b.json", asked)
    with pytest.warns(Notice, match="^--dev_file: faq names no language") as told:
        check_data(Examples([train], [dev]), find_task("qa"), ("start", "end"))
    assert len(told) == 1


def test_every_file_is_read_in_its_language(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def examples(task: object, source: str, options: ReadOptions, progress: bool = False) -> list[object]:
        read.append((options.flag, options.language, source))
        return []

    monkeypatch.setattr(tuning_data, "read_examples", examples)
    request = TaskDataRequest("ner", (("de", "a.txt"), ("tr", "b.txt")), (("fi", "c.txt"),), max_length=8)
    read_data(request, find_task("ner"))
    assert read == [
        ("--train_file", "de", "a.txt"),
        ("--train_file", "tr", "b.txt"),
        ("--dev_file", "fi", "c.txt"),
    ]


def test_a_source_of_which_nothing_fits_is_named() -> None:
    with pytest.raises(InputError, match=r"--train_file a\.txt: nothing in it fits into 8 tokens"):
        make_rows(find_task("mlm"), [], unigram_tokenizer(), (), 8, source="--train_file a.txt", training=True)


def test_label_maps_are_pairs() -> None:
    assert parse_pairs(["DATE=O", "PERSON=PER"], "--label_map") == {"DATE": "O", "PERSON": "PER"}
    assert parse_pairs(None, "--label_map") == {}


@pytest.mark.parametrize("words", [["DATE"], ["=O"], ["DATE="], ["DATE=O", "DATE=PER"]])
def test_what_is_no_pair_is_refused(words: list[str]) -> None:
    with pytest.raises(InputError, match=r"--label_map (DATE|=O)"):
        parse_pairs(words, "--label_map")


def test_texts_that_are_held_out_stand_nowhere_in_training(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(60)]
    (tmp_path / "en.txt").write_text("\n".join([*texts, *(text.upper() for text in texts)]))
    (tmp_path / "more.txt").write_text("\n".join([*texts[:30], *(f"other {number}" for number in range(40))]))
    (tmp_path / "de.txt").write_text("\n".join(f"satz {number}" for number in range(60)))
    (tmp_path / "source.txt").write_text("\n".join(texts))
    train = (("en", f"{tmp_path}/en.txt"), ("en", f"{tmp_path}/more.txt"), ("de", f"{tmp_path}/de.txt"))
    pairs = (("en-de", f"{tmp_path}/source.txt", f"{tmp_path}/de.txt"),)
    embed = find_task("embed")

    found = read_data(TaskDataRequest("embed", train, (), pairs, held_out=8), embed)

    held = {part.language: {embed.text_key(one) for one in part.examples} for part in found.dev}
    assert {language: len(keys) for language, keys in held.items()} == {"en": 8, "de": 6}  # at most a tenth
    left = [key for part in found.train for one in part.examples for key in embed.text_keys(one)]
    assert not set(left) & (held["en"] | held["de"])
    assert len(set(left)) == 60 + 40 + 60 - 8 - 6
    again = read_data(TaskDataRequest("embed", train[::-1], (), held_out=8), embed)
    assert {part.language: {embed.text_key(one) for one in part.examples} for part in again.dev} == held


def test_too_few_texts_to_hold_some_out_are_refused(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("one\ntwo\n")
    with pytest.raises(InputError, match=r"en\.txt: has 2 different texts, of which at least 20 are needed"):
        read_data(TaskDataRequest("embed", (("en", f"{tmp_path}/en.txt"),), ()), find_task("embed"))
