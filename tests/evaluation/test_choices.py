"""Test how the command line names models and test files."""

from __future__ import annotations

from pathlib import Path

import pytest

from bistil_ds.errors import InputError
from bistil_ds.evaluation.choices import parse_models, parse_test_files
from bistil_ds.tasks.candidates import ModelChoice


def test_a_model_has_a_name_a_folder_and_fine_tunings_in_order() -> None:
    assert parse_models(["teacher=some/mmt+en+t", "runs/en-ha"]) == [
        ModelChoice("teacher", "some/mmt", ("en", "t")),
        ModelChoice("en-ha", "runs/en-ha"),
    ]


def test_sft_goes_with_the_one_model() -> None:
    assert parse_models(["runs/en-ha"], ["s"]) == [ModelChoice("en-ha", "runs/en-ha", ("s",))]
    with pytest.raises(InputError, match="--sft: goes with one --model"):
        parse_models(["a", "b"], ["s"])


def test_paths_that_exist_may_hold_the_signs_themselves(tmp_path: Path) -> None:
    for name in ("en+ha", "k=2", "s+t"):
        (tmp_path / name).mkdir()
    assert parse_models([f"{tmp_path}/k=2"]) == [ModelChoice("k=2", f"{tmp_path}/k=2")]
    assert parse_models([f"m={tmp_path}/en+ha+{tmp_path}/s+t+x"]) == [
        ModelChoice("m", f"{tmp_path}/en+ha", (f"{tmp_path}/s+t", "x"))
    ]


def test_the_home_folder_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert parse_models(["m=~/a+~/b"]) == [ModelChoice("m", "/home/me/a", ("/home/me/b",))]
    assert parse_test_files(["xx=~/x.txt"]) == {"xx": "/home/me/x.txt"}


@pytest.mark.parametrize("words", [["a=x", "a=y"], ["runs/m", "other/m"]])
def test_two_models_of_one_name_are_refused(words: list[str]) -> None:
    with pytest.raises(InputError, match="--model: two are called"):
        parse_models(words)


@pytest.mark.parametrize("word", ["=x", "a=", "a=x+", "", "a=+x"])
def test_half_a_model_is_refused(word: str) -> None:
    with pytest.raises(InputError, match=r"--model .*expected NAME=FOLDER"):
        parse_models([word])


def test_the_language_of_a_file_is_given_or_its_folder_or_its_name() -> None:
    words = ["xx=a/b.txt", "data/ha/test.txt", "en.test.tsv", "de=org/set:german:test"]
    assert parse_test_files(words) == {
        "xx": "a/b.txt",
        "ha": "data/ha/test.txt",
        "en": "en.test.tsv",
        "de": "org/set:german:test",
    }


@pytest.mark.parametrize("word", ["org/set:german:test", "=x.txt", "xx="])
def test_a_test_file_without_a_language_is_refused(word: str) -> None:
    with pytest.raises(InputError, match=r"--test_file .*expected LANGUAGE=FILE"):
        parse_test_files([word])


def test_two_files_of_one_language_are_refused() -> None:
    with pytest.raises(InputError, match="--test_file: two are called ha"):
        parse_test_files(["ha/test.txt", "ha=other.txt"])
