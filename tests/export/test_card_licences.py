"""Test what a card says of licences and of languages that the student no longer knows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny
from export_folders import LABELS, write_student, write_task_sft
from huggingface_hub import ModelCard

from bistil_ds.commands.export import main
from bistil_ds.errors import InputError
from bistil_ds.export.card import model_card
from bistil_ds.export.card_facts import CardFacts, base_facts, sft_facts
from bistil_ds.export.card_languages import dropped_languages, read_samples
from bistil_ds.student.origin import Origin, write_origin
from bistil_ds.vocabulary.coverage import Coverage

PARTS = {"model some/mmt": "mit", "data en: en.txt": "cc0-1.0", "data ha: ha.txt": "unknown"}


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_student(tmp_path_factory.mktemp("models") / "en-ha")
    write_origin(folder, Origin(PARTS, ("en", "hau", "sw", "yo")))
    return folder


@pytest.fixture(scope="module")
def sft(student: Path) -> Path:
    licences = {"model some/mmt": "mit", "data en: train.txt": "cc-by-nc-4.0"}
    return write_task_sft(student.parent / "ner-sft", student, "ner", licences=licences)


def card(student: Path, sft: Path, licence: str | None = None, coverage: dict[str, Coverage] | None = None) -> str:
    facts = CardFacts(
        title="ha-ner",
        kind="XLMRobertaForTokenClassification",
        task="ner",
        labels=LABELS["ner"],
        max_length=48,
        parameters=12345,
        base=base_facts(str(student)),
        sfts=[sft_facts(str(sft))],
        licence=licence,
        scores=None,
        engines=None,
        coverage=coverage or {},
    )
    return str(model_card(facts))


def test_every_part_stands_on_the_card_once_with_its_licence(student: Path, sft: Path) -> None:
    section = card(student, sft).partition("## Licence\n")[2]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    parts = {**PARTS, "data en: train.txt": "cc-by-nc-4.0"}
    assert rows == [f"| `{part}` | {licence} |" for part, licence in parts.items()]


def test_data_that_forbids_commercial_use_is_named_in_one_line(student: Path, sft: Path) -> None:
    section = card(student, sft).partition("## Licence\n\n")[2]
    line = section.splitlines()[0]
    assert line == "Unknown. Not for commercial use, by the licence of `data en: train.txt` (cc-by-nc-4.0)."


def test_where_no_licence_forbids_commercial_use_nothing_is_said_of_it(student: Path, tmp_path: Path) -> None:
    free = write_task_sft(tmp_path / "sft", student, "ner", licences={"data en: train.txt": "mit"})
    text = card(student, free, "cc-by-4.0")
    assert "commercial" not in text
    assert ModelCard(text).data.license == "cc-by-4.0"


def test_an_own_licence_that_forbids_commercial_use_is_said_too(student: Path, tmp_path: Path) -> None:
    free = write_task_sft(tmp_path / "sft", student, "ner", licences={"data en: train.txt": "mit"})
    said = "cc-by-nc-4.0. Not for commercial use, by the licence of `this model` (cc-by-nc-4.0)."
    assert said in card(student, free, "cc-by-nc-4.0")


def test_languages_that_are_no_longer_known_are_listed_whatever_form_their_codes_have(student: Path, sft: Path) -> None:
    assert dropped_languages(["en", "hau", "sw", "zh-hant"], ["en", "ha", "zh"]) == ["sw"]
    text = card(student, sft)
    assert "The student was made from text of en, ha only." in text
    assert "Of its teacher's languages it no longer knows 2: sw, yo. How many of their pieces are" in text


def test_samples_show_the_share_of_unknown_pieces(student: Path, sft: Path) -> None:
    text = card(student, sft, coverage={"ha": Coverage(12, 0.0, 1.5), "sw": Coverage(2000, 0.12345, 3.0)})
    assert "| ha | yes | 12 | 0.00% | 1.50 |" in text
    assert "| sw | no | 2,000 | 12.35% | 3.00 |" in text
    assert "was not measured" not in text


def test_a_student_that_does_not_know_its_teachers_languages_says_so(student: Path, sft: Path, tmp_path: Path) -> None:
    old = shutil.copytree(student, tmp_path / "old", ignore=shutil.ignore_patterns("origin.json"))
    text = card(old, sft)
    assert "Which other languages its teacher knew is unknown" in text
    assert "| `data ha: ha.txt`" not in text


def test_a_model_that_is_no_student_has_no_such_section(student: Path, sft: Path, tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("origin.json", "distillation.json", "kept_ids.json")
    mmt = shutil.copytree(student, tmp_path / "mmt", ignore=ignored)
    text = card(mmt, sft)
    assert "## Languages" not in text
    assert "| `model mmt` | unknown |" in text


def test_the_command_counts_unknown_pieces_with_the_students_tokenizer(
    student: Path, sft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "ha.txt").write_text("\n".join(tiny.text_lines("aa", 5)) + "\n")
    (tmp_path / "el.txt").write_text("ωψ ωψ\n\nωψ\n")
    words = ["--model", str(student), "--sft", str(sft), "--output_dir", str(tmp_path / "out")]
    assert main([*words, "--language_samples", f"ha={tmp_path / 'ha.txt'}", f"el={tmp_path / 'el.txt'}"]) == 0
    text = (tmp_path / "out" / "README.md").read_text()
    assert "| ha | yes | 5 | 0.00% |" in text
    # a run of characters that no piece covers is one unknown piece, behind the mark of a word's start
    assert "| el | no | 2 | 50.00% | 2.00 |" in text
    samples = json.loads((tmp_path / "out" / "run.json").read_text())["results"]["samples"]
    assert samples["el"] == {"texts": 2, "unknown": 0.5, "fertility": 2.0}
    data = ModelCard.load(tmp_path / "out" / "README.md").data
    assert data.language == ["en", "ha"]
    assert data.base_model == "some/mmt"


def test_two_samples_of_one_language_are_refused(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("x\n")
    with pytest.raises(InputError, match="--language_samples: several files of sw"):
        read_samples([f"sw={tmp_path / 'a.txt'}", f"sw={tmp_path / 'b.txt'}"])
