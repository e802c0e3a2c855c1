"""Test evaluation from Python: scores agree with counts by hand, and bad input is refused before any model runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_files import LABELS, Files, write_sft, write_task_file
from tiny import write_teacher
from tiny_task import Topics
from transformers import AutoTokenizer

from bistil_ds.errors import InputError, Notice
from bistil_ds.evaluation import Evaluation, evaluate, labelled
from bistil_ds.evaluation.report import markdown, overview, scores, sources
from bistil_ds.models.weight_files import hash_weights
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.tasks import ReadOptions, data
from bistil_ds.text.corpus import corpus_hash

TASK = Topics()


def both(files: Files) -> dict[str, Any]:
    return {"teacher": [files.base, files.sft], "student": files.finished}


@pytest.fixture(scope="module")
def evaluation(files: Files) -> Evaluation:
    return evaluate(both(files), files.tests, TASK, batch_size=4, resamples=200, progress=False)


def accuracy_by_hand(model: Any, folder: Path, test: Path, max_length: int) -> float:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    right = []
    for line in test.read_text().splitlines():
        topic, text = line.split("\t")
        batch = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.no_grad():
            right.append(LABELS[model(**batch).logits.argmax()] == topic)
    return sum(right) / len(right)


def test_scores_are_those_of_each_model_run_by_hand(files: Files, evaluation: Evaluation) -> None:
    teacher, student = TASK.load_model(files.base, LABELS).eval(), TASK.load_model(files.finished, LABELS).eval()
    SparseFineTuning.load(files.sft).apply(teacher)
    for language, test in files.tests.items():
        by_hand = {
            "teacher": accuracy_by_hand(teacher, files.base, test, max_length=16),  # the length that its SFT names
            "student": accuracy_by_hand(student, files.finished, test, max_length=32),  # the default length of the task
        }
        for name, accuracy in by_hand.items():
            assert evaluation.score("accuracy", name, language).value == pytest.approx(accuracy)
            assert evaluation.score("error", name, language).value == pytest.approx(1 - accuracy)
        found = evaluation.difference("accuracy", "student", language)
        assert found.value == pytest.approx(by_hand["student"] - by_hand["teacher"])
        assert found.low <= found.value <= found.high
    average = sum(evaluation.score("accuracy", "student", language).value for language in files.tests) / 2
    assert evaluation.score("accuracy", "student").value == pytest.approx(average)
    facts = evaluation.as_json()["models"]["teacher"]
    assert facts["weights_sha256"] == hash_weights(teacher)
    assert facts["parameters"] * 4 == facts["bytes"] == sum(p.numel() for p in teacher.parameters()) * 4


def test_the_first_model_is_the_reference_unless_another_is_named(files: Files, evaluation: Evaluation) -> None:
    assert evaluation.plan.reference == "teacher"
    assert evaluation.difference("accuracy", "teacher", "aa") is None
    other = evaluate(both(files), files.tests, TASK, reference="student", resamples=200, progress=False)
    one, two = evaluation.difference("accuracy", "student"), other.difference("accuracy", "teacher")
    assert (one.value, one.low, one.high) == pytest.approx((-two.value, -two.high, -two.low))


def test_the_share_seen_in_training_counts_equal_texts(files: Files, tmp_path: Path) -> None:
    lines = files.tests["aa"].read_text().splitlines()[:10]
    train = tmp_path / "train.tsv"
    train.write_text("".join(f"{line.upper().replace(' ', '  ', 1)}\n" for line in lines))
    assert len({line.split("\t")[1] for line in files.tests["aa"].read_text().splitlines()}) == 40
    found = evaluate({"m": files.finished}, files.tests, TASK, train_files=[train], resamples=10, progress=False)
    assert [held.seen_in_training for held in found.plan.test_sets] == [0.25, 0.0]
    assert [list(row) for row in sources(found).rows] == [["aa", "40", "25.0%"], ["bb", "25", "0.0%"]]


def test_training_files_are_found_in_the_record_of_the_fine_tuning(files: Files, tmp_path: Path) -> None:
    sft = write_sft(tmp_path / "sft", files.base)
    arguments = {"task": "topics", "train_file": [f"aa={files.tests['aa']}", "gone.tsv"]}
    (sft / "run.json").write_text(json.dumps({"arguments": arguments}))
    model = {"m": [files.base, sft]}
    found = evaluate(model, files.tests, TASK, resamples=10, progress=False)
    assert found.plan.train_files == (str(files.tests["aa"]),)
    assert f"not compared: {sft / 'run.json'}: no files or folders on this machine: gone.tsv (" in markdown(found)
    assert [held.seen_in_training for held in found.plan.test_sets] == [1.0, 0.0]
    (sft / "run.json").write_text(json.dumps({"arguments": {**arguments, "task": "mlm"}}))
    assert evaluate(model, files.tests, TASK, resamples=10, progress=False).plan.train_files == ()
    (sft / "run.json").write_text("[]")
    found = evaluate(model, files.tests, TASK, resamples=10, progress=False)
    assert found.plan.test_sets[0].seen_in_training is None
    assert list(sources(found).rows[0]) == ["aa", "40", "–"]


def test_a_folder_of_test_files_has_a_hash(files: Files, tmp_path: Path) -> None:
    class InFolder(Topics):
        """A task that reads a file in a folder."""

        def read(self, source: str, options: ReadOptions) -> Any:
            yield from super().read(f"{source}/test.tsv", options)

    folder = files.tests["aa"].parent
    found = evaluate({"m": files.finished}, {"aa": folder}, InFolder(), resamples=10, progress=False)
    assert found.plan.test_sets[0].sha256 == corpus_hash(folder, "--test_file") is not None


def test_recorded_training_files_are_read_as_they_were_in_training(files: Files, tmp_path: Path) -> None:
    class Strict(Topics):
        """A task that refuses topics that are not among the labels."""

        def read(self, source: str, options: ReadOptions) -> Any:
            for topic, text, number in super().read(source, options):
                if topic not in LABELS:
                    raise InputError(f"{options.flag}: {source}, line {number}: no such topic {topic}")
                yield topic, text, number

    sft = write_sft(tmp_path / "sft", files.base)
    train = tmp_path / "train.tsv"
    train.write_text(files.tests["aa"].read_text().replace("news\t", "N\t"))
    arguments = {"task": "topics", "train_file": [f"aa={train}"], "label_map": ["N=news"], "columns": None}
    (sft / "run.json").write_text(json.dumps({"arguments": arguments}))
    model = {"m": [files.base, sft]}
    found = evaluate(model, files.tests, Strict(), resamples=10, progress=False)
    assert [held.seen_in_training for held in found.plan.test_sets] == [1.0, 0.0]
    (sft / "run.json").write_text(json.dumps({"arguments": {**arguments, "label_map": None}}))
    found = evaluate(model, files.tests, Strict(), resamples=10, progress=False)
    assert (found.plan.train_files, found.plan.test_sets[0].seen_in_training) == ((), None)
    assert f"Recorded training data was not compared: {sft / 'run.json'}: {train}, line" in markdown(found)
    with pytest.raises(InputError, match=r"--train_file: .*no such topic N"):
        evaluate(model, files.tests, Strict(), train_files=[train], resamples=10, progress=False)


def test_every_file_is_read_in_its_language(files: Files, tmp_path: Path) -> None:
    read = []

    class Spying(Topics):
        def read(self, source: str, options: ReadOptions) -> Any:
            read.append((options.flag, options.language))
            return super().read(source, options)

    sft = write_sft(tmp_path / "sft", files.base)
    train = tmp_path / "train.tsv"
    train.write_text(files.tests["aa"].read_text())
    (sft / "run.json").write_text(json.dumps({"arguments": {"task": "topics", "train_file": [f"cc={train}"]}}))
    evaluate({"m": [files.base, sft]}, files.tests, Spying(), resamples=10, progress=False)
    assert read == [*(("--test_file", language) for language in files.tests), (str(sft / "run.json"), "cc")]


def test_without_progress_no_bar_is_shown_for_reading_either(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    real = data.progress_bar
    monkeypatch.setattr(data, "progress_bar", lambda *a, **k: shown.append(k["show"]) or real(*a, **k))
    train = write_task_file(tmp_path / "train.tsv", "aa", 4, seed=0)
    for progress in (False, True):
        evaluate({"m": files.finished}, files.tests, TASK, train_files=[train], resamples=10, progress=progress)
    reads = len(files.tests) + 1
    assert shown == [False] * reads + [True] * reads


def test_a_limit_takes_the_first_examples_and_is_told(files: Files) -> None:
    found = evaluate({"m": files.finished}, files.tests, TASK, limit=30, resamples=10, progress=False)
    assert [len(held.examples) for held in found.plan.test_sets] == [30, 25]
    assert "Only the first 30 of 40 examples of aa were used." in markdown(found)
    assert "examples of bb" not in markdown(found)
    every = evaluate({"m": files.finished}, files.tests, TASK, resamples=10, progress=False)
    right = every.cells["m"]["aa"].counts_NC[:30, 0].mean()
    assert found.score("accuracy", "m", "aa").value == pytest.approx(right)


def test_what_of_a_file_a_model_cannot_take_is_told(files: Files) -> None:
    class Cut(Topics):
        """A task of whose examples something is left out."""

        def unused(self, examples: Any, rows: Any) -> str:
            return f"3 words of {len(examples)} sentences"

    with pytest.warns(Notice, match=f"^--test_file {files.tests['bb']}: 3 words of 25 sentences$"):
        evaluate({"m": files.finished}, {"bb": files.tests["bb"]}, Cut(), resamples=10, progress=False)


def test_the_tables_hold_the_numbers(evaluation: Evaluation) -> None:
    grid = overview(evaluation)
    assert grid.columns == ["model", "parameters", "MB", "examples/s", "aa", "bb", "macro"]
    student = list(grid.rows[1])
    assert student[0] == "student"
    assert student[4] == f"{100 * evaluation.score('accuracy', 'student', 'aa').value:.1f}"
    long = scores(evaluation, "accuracy")
    assert [row[0] for row in long.rows] == ["aa", "aa", "bb", "bb", "macro average", "macro average"]
    difference = evaluation.difference("accuracy", "student", "bb")
    numbers = [f"{100 * number:+.1f}" for number in (difference.value, difference.low, difference.high)]
    assert long.rows[3][-1] == "{} [{}, {}]".format(*numbers)
    assert long.rows[2][-1] == "–"
    text = markdown(evaluation)
    assert "### accuracy, per cent [95% interval]" in text
    assert "### error, per cent [95% interval]" in text


def test_one_model_and_one_language_leave_out_what_there_is_not(files: Files) -> None:
    found = evaluate({"m": files.finished}, {"aa": files.tests["aa"]}, TASK, resamples=10, progress=False)
    assert list(scores(found, "accuracy").columns) == ["language", "model", "accuracy"]
    assert len(scores(found, "accuracy").rows) == 1


def refused(models: dict[str, Any], tests: dict[str, Any], match: str, **options: Any) -> None:
    """Check that `evaluate` raises an InputError of one line, matching `match`, before any model runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelled, "predict", None)
        with pytest.raises(InputError, match=match) as error:
            evaluate(models, tests, TASK, progress=False, **options)
    assert "\n" not in str(error.value)


def test_nothing_runs_when_one_of_the_models_cannot(files: Files, tmp_path: Path) -> None:
    good = {"good": files.finished}
    refused({**good, "m": tmp_path / "nothing"}, files.tests, "nothing: there is no such folder")
    refused({**good, "m": files.base}, files.tests, "no head for topics; add one that teacher.py or task.py made")
    refused({**good, "m": [files.base, tmp_path / "x"]}, files.tests, "x")
    other_task = write_sft(tmp_path / "ner", files.base, task="ner")
    refused({**good, "m": [files.base, other_task]}, files.tests, "ner was made for ner")
    headless = write_sft(tmp_path / "headless", files.base, headless=True)
    refused({**good, "m": [files.base, headless]}, files.tests, "has no trained head for topics")
    other_base = write_teacher(tmp_path / "other", layers=2, width=16, seed=9)
    refused({**good, "m": [other_base, files.sft]}, files.tests, "was made for .* not for .*other")
    refused(good, files.tests, "--reference x: is none of the models, which are good", reference="x")
    refused(good, files.tests, "--max_length 65: .*finished takes 1 to 64 tokens", max_length=65)


def test_nothing_runs_when_one_of_the_files_cannot_be_used(files: Files, tmp_path: Path) -> None:
    good, model = files.tests["aa"], {"m": files.finished}
    refused(model, {"aa": good, "bb": tmp_path / "gone"}, "--test_file: there is no file .*gone")
    (tmp_path / "broken").write_text("news\tx\nsport y\n")
    refused(model, {"aa": good, "bb": tmp_path / "broken"}, "--test_file: .*broken, line 2: expected topic")
    (tmp_path / "empty").write_text("")
    refused(model, {"aa": good, "bb": tmp_path / "empty"}, "--test_file .*empty: holds no examples for topics")
    (tmp_path / "new").write_text("news\tx\nart\ty\n")
    refused(model, {"aa": good, "bb": tmp_path / "new"}, "--test_file, line 2: topic art is none of news, sport")
    refused(model, files.tests, "--train_file: .*broken, line 2", train_files=[tmp_path / "broken"])
    found = evaluate(model, {"bb": tmp_path / "new"}, TASK, label_map={"art": "news"}, resamples=10, progress=False)
    assert found.finished


@pytest.mark.parametrize("option", [{"limit": 0}, {"batch_size": 0}, {"resamples": -1}, {"seed": -1}])
def test_numbers_that_cannot_be_are_refused(files: Files, option: dict[str, int]) -> None:
    name, value = next(iter(option.items()))
    refused({"m": files.finished}, files.tests, f"--{name} {value}: expected", **option)


def test_more_examples_than_a_batch_and_long_lines_are_counted_once(files: Files, tmp_path: Path) -> None:
    test = write_task_file(tmp_path / "t.tsv", "aa", 33, seed=9)
    test.write_text(test.read_text() + f"news\t{'ba ' * 200}\n")
    found = evaluate({"m": files.finished}, {"aa": test}, TASK, batch_size=8, resamples=10, progress=False)
    assert found.cells["m"]["aa"].counts_NC[:, 1].sum() == 34
