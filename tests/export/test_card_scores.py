"""Test that the card's scores are those of an evaluation of exactly the exported weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from export_folders import card_of, header
from huggingface_hub import ModelCard

from bistil_ds.embedding.settings import SentenceSettings
from bistil_ds.errors import InputError
from bistil_ds.export.card_facts import SentenceFacts
from bistil_ds.export.card_scores import read_scores

HASH = "ef" * 32


def evaluation(folder: Path) -> Path:
    """Write the part of an `evaluation.json` that a card reads, of two models and two test sets; return its path."""
    score = {"f1": {"value": 0.5, "low": 0.45, "high": 0.55}, "precision": {"value": 0.6, "low": None, "high": None}}
    mine = {"ha": {"score": {**score, "f1": {"value": 0.625, "low": 0.6, "high": 0.65}}}, "en": {"score": score}}
    set_facts = {"examples": 1200, "seen_in_training": 0.0125}
    content = {
        "metric": "f1",
        "test_sets": {
            "ha": {"source": "/data/ha/test.txt", "sha256": "12" * 32, **set_facts},
            "en": {"source": "org/name:en:test", "sha256": None, **set_facts, "seen_in_training": None},
        },
        "models": {
            "teacher": {"weights_sha256": "0" * 64, "languages": {}},
            "student": {"weights_sha256": HASH, "languages": mine},
        },
    }
    (folder / "evaluation.json").write_text(json.dumps(content))
    return folder / "evaluation.json"


def test_scores_stand_in_the_table_and_in_the_model_index(student: Path, sft: Path, tmp_path: Path) -> None:
    card = card_of(student, [sft], scores=read_scores(str(evaluation(tmp_path)), HASH))
    assert "| ha | test.txt | 1,200 | 1.2% | f1 | 62.5 | 60.0 to 65.0 |" in card
    assert "| en | org/name:en:test | 1,200 | unknown | precision | 60.0 | unknown |" in card
    head = header(card)
    assert head["metrics"] == ["f1", "precision"]
    index = head["model-index"][0]
    assert index["name"] == "ha-ner"
    assert [result["dataset"]["name"] for result in index["results"]] == ["test.txt (ha)", "org/name:en:test (en)"]
    first = index["results"][0]
    assert first["task"] == {"type": "token-classification", "name": "ner"}
    assert first["metrics"][0] == {"type": "f1", "value": 0.625, "name": "f1"}


def test_test_files_of_one_name_keep_entries_of_their_own(student: Path, sft: Path, tmp_path: Path) -> None:
    file = evaluation(tmp_path)
    content = json.loads(file.read_text())
    content["test_sets"]["en"] |= {"source": "/data/en/test.txt", "sha256": "34" * 32}
    file.write_text(json.dumps(content))
    card = ModelCard(card_of(student, [sft], scores=read_scores(str(file), HASH)))
    found = [(one.dataset_config, one.metric_type, one.metric_value) for one in card.data.eval_results or ()]
    assert found == [("ha", "f1", 0.625), ("ha", "precision", 0.6), ("en", "f1", 0.5), ("en", "precision", 0.6)]


def test_scores_of_other_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is of models with other weights \(teacher, student\)"):
        read_scores(str(evaluation(tmp_path)), "1" * 64)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"models": [], "test_sets": {}, "metric": "f1"}',
        "[" * 100_000,
        '{"models": 1e400}',
        '{"a": NaN}',
    ],
)
def test_a_file_that_holds_no_scores_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InputError, match=r"^--scores .*x\.json: .*expected the evaluation\.json") as caught:
        read_scores(str(tmp_path / "x.json"), HASH)
    assert "\n" not in str(caught.value)


def test_half_an_evaluation_is_refused_in_one_line(tmp_path: Path) -> None:
    whole = json.loads(evaluation(tmp_path).read_text())
    refused = 0

    def spoil(holder: dict[str, Any]) -> None:
        nonlocal refused
        for key in list(holder):
            value = holder.pop(key)
            for other in (None, [], {}, "x", True, 10**400):  # None: the key is missing
                holder |= {} if other is None else {key: other}
                (tmp_path / "x.json").write_text(json.dumps(whole))
                try:
                    for one in read_scores(str(tmp_path / "x.json"), HASH):
                        assert [type(part) for part in (one.value, one.metric, one.test_set[0])] == [float, str, str]
                except InputError as error:
                    refused += str(error).startswith("--scores") and "\n" not in str(error)
            holder[key] = value
            if isinstance(value, dict):
                spoil(value)

    spoil(whole)
    assert refused > 100


def test_each_set_of_sentences_has_its_own_main_metric_and_parallel_files_lose_their_folders(
    student: Path, sft: Path, tmp_path: Path
) -> None:
    file = evaluation(tmp_path)
    content = json.loads(file.read_text())
    content["test_sets"]["ha"] |= {"source": "/data/me/en.txt,/data/me/ha.txt", "metric": "precision"}
    content["models"]["student"]["languages"]["ha"]["score"]["cosine"] = {"value": 0.9, "low": None, "high": None}
    file.write_text(json.dumps(content))
    found = read_scores(str(file), HASH)
    assert [(one.language, one.metric) for one in found[:3]] == [("ha", "precision"), ("ha", "f1"), ("ha", "cosine")]
    sentence = SentenceFacts(SentenceSettings(), 32, 128)
    card = card_of(student, [sft], scores=found, sentence=sentence, kind="XLMRobertaForSentenceEmbedding")
    assert "| ha | en.txt,ha.txt | 1,200 | 1.2% | cosine | 90.0 | unknown |" in card
    assert "/data/me" not in card
    assert "compare the vectors with those of the evaluation's reference model" in card
    assert header(card)["model-index"][0]["results"][0]["task"]["type"] == "sentence-similarity"
