"""Test the task of sentence vectors: prompts, pairs, scores, the settings that it finds and those of a student."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from tiny import unigram_tokenizer, write_sentence_folder, write_teacher
from transformers import PretrainedConfig

from bistil_ds.embedding.settings import KEY, DenseLayer, SentenceSettings
from bistil_ds.errors import InputError
from bistil_ds.tasks import ReadOptions, find_task
from bistil_ds.tasks.embed.embed import SentenceEmbedding
from bistil_ds.tasks.embed.pairs import ParallelTexts, parse_parallel, read_parallel
from bistil_ds.tasks.embed.scores import compare
from bistil_ds.tasks.examples import Place, Text

HERE = Place("file", 1)


def embed(**settings: object) -> SentenceEmbedding:
    return SentenceEmbedding(SentenceSettings(**settings))


def texts(*words: str) -> list[Text]:
    return [Text(word, HERE) for word in words]


def test_prompts_stand_before_the_texts_in_turn() -> None:
    tokenizer = unigram_tokenizer()
    task = embed(prompts={"query": "ba ", "passage": "ke ", "same": "ba "})
    rows = task.features(texts("lo", "mi", "su"), tokenizer, (), 20, training=True)
    assert [row["input_ids"] for row in rows] == tokenizer(["ba lo", "ke mi", "ba su"])["input_ids"]


def test_texts_are_cut_at_the_models_own_limit_or_that_of_the_run() -> None:
    tokenizer = unigram_tokenizer()
    long = texts("ba ke lo mi su ta ren vor")
    for task, longest in ((embed(max_length=5), 20), (embed(), 5)):
        (row,) = task.features(long, tokenizer, (), longest, training=True)
        assert len(row["input_ids"]) == 5
    with pytest.raises(InputError, match="--max_length 4: leaves no room"):
        embed(prompts={"query": "ba ke lo"}).features(long, tokenizer, (), 4, training=True)


def test_one_line_says_how_vectors_are_made_and_that_there_is_no_prompt() -> None:
    plain = "vectors: pooling mean, then scaled to length 1; no prompt; at most 20 tokens"
    assert embed().describe(20) == embed(prompts={"query": ""}).describe(20) == plain
    dense = (DenseLayer(8, 4, activation="Tanh"),)
    rich = embed(pooling=("max",), normalise=False, prompts={"q": "q: "}, max_length=9, dense=dense)
    assert rich.describe(20) == (
        "vectors: pooling max, then a dense layer (Tanh), not scaled to length 1; prompts: q 'q: '; at most 9 tokens"
    )


def test_prompts_need_no_pooling_where_the_models_files_have_one(tmp_path: Path) -> None:
    write_sentence_folder(tmp_path, layers=1)
    task = find_task("embed").configured(prompt=["query=query: ", "passage=passage: "]).for_model(tmp_path)
    assert task.settings.prompts == {"query": "query: ", "passage": "passage: "}
    assert task.settings.pooling == ("mean",)


def test_both_sides_of_a_pair_get_the_vector_of_the_source() -> None:
    tokenizer = unigram_tokenizer()
    examples = [*texts("ba"), ParallelTexts("ke lo", "mi", HERE), *texts("su")]
    rows = embed().features(examples, tokenizer, (), 20, training=True)
    batch = embed().collate(rows, 1)
    told = [row[mask.bool()].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"])]
    assert told == tokenizer(["ba", "ke lo", "mi", "su"])["input_ids"]
    assert batch["targets"].tolist() == [0, 1, 1, 3]
    assert "targets" not in embed().collate([rows[0], rows[2]], 1)

    class Output:
        sentence_embedding = torch.arange(8.0).view(4, 2)

    theirs = embed().distilled_vectors(Output, batch, of_teacher=True)
    assert theirs[:, 0].tolist() == [0, 2, 2, 6]
    assert torch.equal(embed().distilled_vectors(Output, batch, of_teacher=False), Output.sentence_embedding)


def test_parallel_files_are_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("one\n\nthree\nfour\n")
    (tmp_path / "de.txt").write_text("eins\nzwei\n\nvier\n")
    pairs = list(read_parallel(str(tmp_path / "en.txt"), str(tmp_path / "de.txt"), "--parallel_file"))
    assert [(pair.source, pair.text, pair.place.line) for pair in pairs] == [("one", "eins", 1), ("four", "vier", 4)]


def test_parallel_files_of_different_lengths_are_refused_by_both_counts(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("one\ntwo\nthree\n")
    (tmp_path / "de.txt").write_text("eins\nzwei\n")
    files = str(tmp_path / "en.txt"), str(tmp_path / "de.txt")
    with pytest.raises(InputError, match=r"--parallel_file: .*en\.txt has 3 texts and .*de\.txt has 2; give parallel"):
        list(read_parallel(*files, "--parallel_file"))


@pytest.mark.parametrize("word", ["en.txt,de.txt", "en-de=en.txt", "en-de=a,b,c", "=a,b", "en-de=a,"])
def test_what_names_no_pair_of_files_is_refused(word: str) -> None:
    with pytest.raises(InputError, match=f"--parallel_file {word}: expected a name and two parallel files"):
        parse_parallel([word], "--parallel_file")


def test_a_pair_has_the_keys_of_both_texts() -> None:
    assert embed().text_keys(ParallelTexts("One  Two", "EINS", HERE)) == {"one two", "eins"}


def test_the_scores_are_the_mean_cosine_and_the_correlation_of_similarities() -> None:
    draw = np.random.default_rng(0)
    ours, theirs = draw.normal(size=(6, 4)), draw.normal(size=(6, 4))
    found = compare(ours, theirs)
    unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (ours, theirs)]
    assert found["cosine"] == pytest.approx(np.mean([a @ b for a, b in zip(*unit)]))
    pairs = np.triu_indices(6, 1)
    assert found["similarity"] == pytest.approx(pearsonr(*((one @ one.T)[pairs] for one in unit)).statistic)
    assert set(compare(ours[:, :3], theirs)) == {"similarity"}
    assert compare(ours[:1], theirs[:1])["similarity"] == 0


@pytest.mark.parametrize("count", [2, 3, 40, 41])
def test_the_correlation_over_blocks_is_that_of_the_plain_formula(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr("bistil_ds.tasks.embed.scores.COSINES_AT_ONCE", 100)
    draw = np.random.default_rng(count)
    ours = draw.normal(size=(count, 5)) + 40  # all cosines are near 1, where sums of squares would lose digits
    theirs = ours[:, :4] + draw.normal(size=(count, 4))
    pairs = np.triu_indices(count, 1)
    cosines = [(one @ one.T)[pairs] for one in (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (ours, theirs))]
    expected = np.corrcoef(*cosines)[0, 1] if count > 2 else 0
    assert compare(ours, theirs)["similarity"] == pytest.approx(expected, abs=2e-12)


def test_the_correlation_never_holds_the_cosines_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bistil_ds.tasks.embed.scores.COSINES_AT_ONCE", 1 << 14)
    vectors = np.random.default_rng(0).normal(size=(1000, 4))
    tracemalloc.start()
    assert compare(vectors, vectors)["similarity"] == 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1000**2 / 4  # bytes; one matrix of all cosines takes four times as many


def test_validation_compares_with_the_teachers_vectors() -> None:
    task = embed()
    vectors = [np.array([1.0, 0.0]), np.array([0.0, 2.0])]
    scored = [task.with_teacher(*pair) for pair in zip(texts("a", "b"), vectors)]
    answers = [np.array([3.0, 0.0]), np.array([2.0, 2.0])]
    assert task.scores(scored, answers, "en")["cosine"] == pytest.approx((1 + 0.5**0.5) / 2)
    totals = sum(task.counts(one, answer, "en") for one, answer in zip(scored, answers))
    assert task.metrics(totals)["cosine"] == pytest.approx((1 + 0.5**0.5) / 2)


# Settings


def test_a_fine_tuning_says_how_vectors_are_made_before_the_folder_does(tmp_path: Path) -> None:
    folder, told = write_teacher(tmp_path), SentenceSettings(("cls",), False, {"query": "q: "}, "query")
    task = find_task("embed").for_model(folder, [{}, {KEY: told.as_dict()}])
    assert task.settings == told
    assert task.metadata() == {KEY: told.as_dict()}
    asked = find_task("embed").configured(pooling=["max"], prompt=["x: ", "passage=y= "])
    changed = asked.for_model(folder, [{KEY: told.as_dict()}]).settings
    assert changed == SentenceSettings(("max",), True, {"default": "x: ", "passage": "y= "}, "default")


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({"pooling": ["median"]}, "pooling median: is not known; give one or several of cls, max"),
        ({"normalise": False}, "--normalise false: goes with --pooling"),
        ({"dimension": "half"}, "--dimension half: expected one of teacher, student"),
        ({"prompt": ["a", "b"]}, "--prompt 'b': default is given twice"),
        ({"colour": "red"}, "--colour: has no effect with --task embed"),
    ],
)
def test_choices_that_make_no_sense_are_refused(choices: dict[str, object], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        find_task("embed").configured(**choices)


def test_the_choices_of_embed_are_refused_with_other_tasks() -> None:
    with pytest.raises(InputError, match="--pooling: has no effect with --task ner; leave it out"):
        find_task("ner").configured(pooling=["mean"])


def width(size: int) -> PretrainedConfig:
    config = PretrainedConfig()
    config.hidden_size = size
    return config


TANH = DenseLayer(8, 6, activation="Tanh")


@pytest.mark.parametrize(
    ("dense", "student", "dimension", "expected"),
    [
        ((), 8, "teacher", ()),
        ((), 4, "teacher", (DenseLayer(4, 8),)),
        ((), 4, "student", ()),
        ((TANH,), 8, "teacher", (TANH,)),
        ((TANH, DenseLayer(6, 3)), 4, "teacher", (DenseLayer(4, 6, activation="Tanh"), DenseLayer(6, 3))),
        ((TANH,), 4, "student", ()),
    ],
)
def test_a_students_dense_layers_give_the_dimension_that_was_asked_for(
    dense: tuple[DenseLayer, ...], student: int, dimension: str, expected: tuple[DenseLayer, ...]
) -> None:
    task = SentenceEmbedding(SentenceSettings(dense=dense), dimension=dimension)
    assert task.for_student(width(student), width(8)).settings.dense == expected


def test_a_label_map_is_refused() -> None:
    with pytest.raises(InputError, match="label_map"):
        list(find_task("embed").read("x.txt", ReadOptions(label_map={"a": "b"})))
