"""Test the sample's task files: readers accept them, they are parallel, hardly a test sentence is in training."""

from __future__ import annotations

import pytest

from bistil_ds.errors import InputError
from bistil_ds.models.licences import data_licences
from bistil_ds.sample import LANGUAGES, sample_corpora, sample_task_file
from bistil_ds.sample import tasks as sample_tasks
from bistil_ds.sample.grammar.generation import sentences
from bistil_ds.tasks import ReadOptions, find_task
from bistil_ds.tasks.examples import TaggedSentence, Tree
from bistil_ds.tasks.readers import read_tagged, read_trees, read_upos
from bistil_ds.tasks.text_key import text_key

SIZES = {"train": 2000, "dev": 300, "test": 500}
READERS = {"pos": read_upos, "dp": read_trees, "ner": read_tagged}


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BISTIL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def read(task: str, language: str, split: str) -> list[TaggedSentence] | list[Tree]:
    return list(READERS[task](str(sample_task_file(task, language, split)), ReadOptions()))  # type: ignore[operator]


@pytest.mark.parametrize("task", READERS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_readers_take_every_file_and_say_what_the_generator_said(task: str, language: str) -> None:
    for split, size in SIZES.items():
        examples = read(task, language, split)
        assert len(examples) == size
        drawn = sentences(5, sample_tasks.SPLITS[split][1])
        for example, parallel in zip(examples, drawn):
            said = parallel[language]
            assert example.words == said.tokens
            if isinstance(example, Tree):
                assert (example.upos, example.heads, example.relations) == (said.upos, said.heads, said.relations)
            else:
                assert example.tags == (said.entities if task == "ner" else said.upos)


@pytest.mark.parametrize("name", ["pos", "ner", "dp"])
@pytest.mark.filterwarnings("ignore:.*training had no relation compound")
def test_what_english_training_teaches_can_be_tested_in_the_other_languages(name: str) -> None:
    task = find_task(name)
    labels = task.labels(read(name, "en", "train"))
    for language in LANGUAGES:
        task.check_labels(read(name, language, "test"), labels, "--test_file")


@pytest.mark.parametrize("language", LANGUAGES)
def test_hardly_a_test_sentence_is_in_training(language: str) -> None:
    keys = {split: [text_key(" ".join(e.words)) for e in read("ner", language, split)] for split in SIZES}
    for split, most in (("dev", 0.03), ("test", 0.01)):
        assert len(set(keys[split]) & set(keys["train"])) < most * len(keys[split])


def test_files_are_made_once_and_with_unix_line_ends() -> None:
    path = sample_task_file("dp", "tr", "test")
    made = path.stat().st_mtime_ns
    assert sample_task_file("pos", "tr", "test") == path
    assert path.stat().st_mtime_ns == made
    assert b"\r" not in path.read_bytes()
    assert sample_task_file("ner", "tr", "test").parent == path.parent


@pytest.mark.parametrize(
    ("wrong", "known"),
    [
        (("qa", "en", "test"), "no qa .only pos, dp, ner, mlm"),
        (("ner", "fr", "test"), "no fr .only en, tr, sw"),
        (("ner", "en", "all"), "no all .only train, dev, test"),
    ],
)
def test_there_are_no_other_files(wrong: tuple[str, str, str], known: str) -> None:
    with pytest.raises(InputError, match=known):
        sample_task_file(*wrong)


def test_the_text_of_language_modelling_is_that_of_the_sentences() -> None:
    texts = list(find_task("mlm").read(str(sample_task_file("mlm", "tr", "dev")), ReadOptions()))
    assert len(texts) == 300
    assert texts[0].text == next(iter(sentences(1, sample_tasks.SPLITS["dev"][1])))["tr"].text


def test_the_text_rejoins_from_the_words() -> None:
    lines = sample_task_file("dp", "en", "dev").read_text(encoding="utf-8").split("\n\n")[:-1]
    for block in lines:
        text, *rows = block.split("\n")
        cells = [row.split("\t") for row in rows]
        joined = "".join(cell[1] + ("" if cell[9] == "SpaceAfter=No" else " ") for cell in cells).rstrip()
        assert text == f"# text = {joined}"


def test_its_licence_is_known() -> None:
    """Phase 1 and the task commands write it to what they make, and so to the exported card."""
    texts = [(language, str(sample_corpora()[language])) for language in LANGUAGES]
    texts.append(("en", str(sample_task_file("ner", "en", "train"))))
    assert set(data_licences(texts, None).values()) == {"apache-2.0"}
