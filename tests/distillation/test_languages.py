"""Test how flags and records name languages: two ways that give the same bits, one language to many, and bad input."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file

from bistil_ds.commands.general import main
from bistil_ds.distillation.dry_run import rehearse
from bistil_ds.distillation.from_flags import request_of
from bistil_ds.distillation.languages import recorded_languages
from bistil_ds.distillation.preparation import PreparedRun, prepare
from bistil_ds.distillation.run import make_trainer
from bistil_ds.errors import InputError
from bistil_ds.models.weight_files import hash_weights
from bistil_ds.student.folder import read_alignment
from bistil_ds.student.origin import read_origin

TEXTS = {"aa": "aa", "bb": "bb", "cc": "aa"}  # language → the one whose syllables its text has


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    for seed, (language, syllables) in enumerate(TEXTS.items()):
        lines = tiny.text_lines(syllables, 200 + 100 * seed, seed)
        (folder / f"{language}.txt").write_text("\n".join(lines), encoding="utf-8")
    tiny.write_teacher(folder / "teacher", layers=2, width=16)
    return folder


@pytest.fixture(autouse=True)
def _here(material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BISTIL_CACHE", str(material / "cache"))
    monkeypatch.chdir(tmp_path)


def by_text(material: Path, *languages: str) -> dict[str, Any]:
    return {"text": {language: material / f"{language}.txt" for language in languages}}


def by_side(material: Path, source: str = "aa", target: str = "bb") -> dict[str, Any]:
    files = {"source_file": material / f"{source}.txt", "target_file": material / f"{target}.txt"}
    return {**files, "source_language": source, "target_language": target}


def prepared(material: Path, folder: str, **flags: Any) -> PreparedRun:
    given: dict[str, Any] = {"teacher_model": material / "teacher", "max_length": 16, "max_steps": 4}
    given |= {"report_to": "none", "eval_strategy": "no", "load_best_model_at_end": False, "save_strategy": "no"}
    return prepare(request_of(**{**given, "disable_tqdm": True, "output_dir": folder, **flags}))


def resumed(material: Path, folder: str, **flags: Any) -> PreparedRun:
    return prepared(material, folder, resume_from_checkpoint="true", **flags)


def record(folder: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(folder) / "run.json").read_text())
    return content


def test_two_languages_give_the_same_bits_whichever_way_names_them(material: Path) -> None:
    runs = [
        prepared(material, "sides", **by_side(material)),
        prepared(material, "text", **by_text(material, "aa", "bb"), kernels="torch"),
    ]
    students = []
    for run in runs:
        trainer = make_trainer(run, eval_on_start=False)
        trainer.train()
        students.append(trainer.model.state_dict())
    assert all(torch.equal(students[0][name], students[1][name]) for name in students[0])
    assert not torch.equal(
        students[0]["roberta.encoder.layer.0.output.dense.weight"],
        load_file("sides/build/student/model.safetensors")["roberta.encoder.layer.0.output.dense.weight"],
    )
    for part in ("teacher", "student"):
        assert hash_weights(f"sides/build/{part}") == hash_weights(f"text/build/{part}")
        assert (
            Path(f"sides/build/{part}/tokenizer.json").read_bytes()
            == Path(f"text/build/{part}/tokenizer.json").read_bytes()
        )
    for folder, flag, choice in (("sides", None, "auto"), ("text", "torch", "torch")):
        assert record(folder)["arguments"]["kernels"] == flag
        assert record(folder)["results"]["kernels"]["choice"] == choice
    assert record("sides")["results"]["build"] == record("text")["results"]["build"]
    assert list(record("sides")["data"].values()) == list(record("text")["data"].values())
    assert read_alignment(Path("sides/build/student")) == read_alignment(Path("text/build/student"))


def test_records_keep_the_way_that_named_the_languages(material: Path) -> None:
    prepared(material, "sides", **by_side(material))
    prepared(material, "text", **by_text(material, "cc", "aa", "bb"))
    sides, text = record("sides"), record("text")
    assert (sides["arguments"]["source_language"], sides["arguments"]["text"]) == ("aa", None)
    assert set(sides["data"]) == {"source", "target"}
    assert list(text["arguments"]["text"]) == list(text["data"]) == ["cc", "aa", "bb"]
    assert text["arguments"]["source_file"] is None
    assert recorded_languages(sides["arguments"]) == ["aa", "bb"]
    assert recorded_languages(text["arguments"]) == ["cc", "aa", "bb"]


def test_a_run_is_resumed_in_either_way(material: Path) -> None:
    sides, text = by_side(material), by_text(material, "aa", "bb")
    prepared(material, "sides", **sides)
    prepared(material, "text", **text)
    for folder in ("sides", "text"):
        for way in (sides, text):
            assert resumed(material, folder, **way).request.languages == ["aa", "bb"]
    older = record("sides")
    for name in ("text", "language_sft", "language_temperature"):
        del older["arguments"][name]  # as earlier versions wrote it
    Path("sides/run.json").write_text(json.dumps(older))
    assert resumed(material, "sides", **sides).request.languages == ["aa", "bb"]
    with pytest.raises(InputError, match=r"--language_temperature 2.0: the run in sides was started with None"):
        resumed(material, "sides", **sides, language_temperature=2.0)
    del older["arguments"]["keep_first"]
    Path("sides/run.json").write_text(json.dumps(older))
    with pytest.raises(InputError, match=r"--keep_first True: the run in sides was started with False"):
        resumed(material, "sides", **sides, keep_first=True)


def test_a_resumed_run_keeps_its_languages_their_order_texts_and_fine_tunings(material: Path, tmp_path: Path) -> None:
    prepared(material, "run", **by_text(material, "aa", "bb", "cc"))
    assert resumed(material, "run", **by_text(material, "aa", "bb", "cc")).request.languages == ["aa", "bb", "cc"]
    for languages in (("bb", "aa", "cc"), ("aa", "bb")):
        with pytest.raises(
            InputError, match=f"--text: {' '.join(languages)}: the run in run was started with aa bb cc"
        ):
            resumed(material, "run", **by_text(material, *languages))
    with pytest.raises(InputError, match=r"--source_language --target_language: aa bb: .* started with aa bb cc"):
        resumed(material, "run", **by_side(material))
    sft = {"language_sft": {"bb": tmp_path}}
    with pytest.raises(InputError, match=f"--language_sft bb={tmp_path}: the run in run was started with None"):
        resumed(material, "run", **by_text(material, "aa", "bb", "cc"), **sft)
    moved = shutil.copy(material / "bb.txt", "moved.txt")
    texts = by_text(material, "aa", "bb", "cc")["text"]
    resumed(material, "run", text={**texts, "bb": moved})
    with open(moved, "a", encoding="utf-8") as file:
        file.write("\nmore\n")
    with pytest.raises(InputError, match=r"--text bb=moved\.txt: not the text that the run in run was started with"):
        resumed(material, "run", text={**texts, "bb": moved})


def test_a_resumed_run_reads_its_texts_as_at_its_start(material: Path) -> None:
    texts = by_text(material, "aa", "bb")["text"]
    lines = [json.dumps({"text": line}) for line in texts["bb"].read_text().splitlines()]
    Path("bb.jsonl").write_text("\n".join(lines))
    prepared(material, "run", text={**texts, "bb": "bb.jsonl"})
    shutil.copy("bb.jsonl", "bb.txt")
    resumed(material, "run", text={**texts, "bb": "bb.txt", "aa": f"plain:{texts['aa']}"})
    with pytest.raises(
        InputError, match=r"bb=plain:bb\.jsonl: is read as plain, unlike bb\.jsonl when the run in run was started"
    ):
        resumed(material, "run", text={**texts, "bb": "plain:bb.jsonl"})
    older = record("run")
    del older["data"]["bb"]["read"]  # as earlier versions wrote it
    Path("run/run.json").write_text(json.dumps(older))
    resumed(material, "run", text={**texts, "bb": "plain:bb.jsonl"})


@pytest.mark.parametrize("languages", [("cc",), ("cc", "aa", "bb")])
def test_one_language_or_three_are_built_and_rehearsed(
    languages: tuple[str, ...], material: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    licence = {languages[0]: "cc-by-4.0"}
    several = {"language_temperature": 3} if len(languages) > 1 else {}
    run = prepared(material, "run", **by_text(material, *languages), data_licence=licence, **several)
    student = Path("run/build/student")
    alignment, origin = read_alignment(student), read_origin(student)
    assert alignment is not None
    assert origin is not None
    assert alignment.languages == languages
    assert [origin.licences[f"data {language}: {language}.txt"] for language in languages] == [
        licence.get(language, "unknown") for language in languages
    ]
    build = record("run")["results"]["build"]
    assert list(build["chunks"]) == list(build["vocabulary"]["segmentations"]) == list(languages)
    assert (build["family"], build["left_out"]) == ("xlm-roberta", [])
    found = rehearse(run)
    assert found is not None
    assert sum(row[0].endswith(" kB") for row in found.read) == len(languages)
    assert sum(row[1].endswith(" texts") for row in found.read) == len(languages)
    printed = capsys.readouterr().out
    assert "cut the same" in printed
    assert all(re.search(rf"^ *{language} ", printed, re.MULTILINE) for language in languages)


def test_epochs_count_for_every_number_of_languages(material: Path) -> None:
    flags = {"max_steps": -1, "num_train_epochs": 2.0, "per_device_train_batch_size": 5}
    run = prepared(material, "run", **by_text(material, "aa", "bb", "cc"), **flags)
    chunks = {language: found["train"] for language, found in record("run")["results"]["build"]["chunks"].items()}
    assert run.request.training["max_steps"] == -(-2 * 3 * max(chunks.values()) // 5)
    run = prepared(material, "even", **by_text(material, "aa", "bb", "cc"), **flags, language_temperature=1.0)
    assert run.request.training["max_steps"] == -(-2 * sum(chunks.values()) // 5)


@pytest.mark.parametrize("metric", ["loss", "cc_loss", "eval_aa_loss"])
def test_the_best_checkpoint_may_be_that_of_any_language(metric: str, material: Path) -> None:
    flags = {"teacher_model": "mmt", **by_text(material, "aa", "bb", "cc")}
    assert request_of(**flags, metric_for_best_model=metric).training["metric_for_best_model"] == metric
    with pytest.raises(InputError, match="expected one of loss, aa_loss, bb_loss, cc_loss"):
        request_of(**flags, metric_for_best_model="dd_loss")


TEACHER = ["--teacher_model", "teacher"]
TWO = ["--text", "aa=aa.txt", "bb=bb.txt"]
BAD = {
    "a language twice": (["--text", "aa=aa.txt", "bb=bb.txt", "aa=cc.txt"], ["--text: aa is given twice"]),
    "a text without its language": (["--text", "aa.txt"], ["--text aa.txt: expected a language", "such as tr=tr.txt"]),
    "a language without its text": (["--text", "aa=aa.txt", "bb="], ["--text bb=: expected a language"]),
    "no text": ([], ["--text missing: give --teacher_model, and --text with LANGUAGE=FILE"]),
    "both ways": ([*TWO, "--source_file", "cc.txt"], ["--source_file: --text and --language_sft name languages too"]),
    "a side's fine-tuning": ([*TWO, "--target_sft", "x"], ["--target_sft: ", "use one way only"]),
    "a fine-tuning without text": (["--language_sft", "aa=x"], ["--text missing"]),
    "a fine-tuning of another language": (
        [*TWO, "--language_sft", "aa=x", "cc=y"],
        ["--language_sft cc=y: no text of cc is given, only of aa, bb"],
    ),
    "a fine-tuning twice": ([*TWO, "--language_sft", "aa=x", "aa=y"], ["--language_sft: aa is given twice"]),
    "a fine-tuning that is none": ([*TWO, "--language_sft", "bb=./x"], ["--language_sft bb=./x", "./x"]),
    "one text for two languages": (
        ["--text", "aa=aa.txt", "bb=bb.txt", "cc=aa.txt"],
        ["--text aa=aa.txt and --text cc=aa.txt are the same text"],
    ),
    "no such text": (["--text", "aa=aa.txt", "dd=dd.txt"], ["--text dd: there is no file dd.txt"]),
    "too little text": ([*TWO, "--per_device_train_batch_size", "999"], ["--text aa=aa.txt gives", "needs 999"]),
    "a temperature below 1": ([*TWO, "--language_temperature", "0.5"], ["--language_temperature 0.5: expected at le"]),
    "a temperature that is no number": ([*TWO, "--language_temperature", "nan"], ["--language_temperature nan"]),
    "the licence of another text": ([*TWO, "--data_licence", "cc=mit"], ["cc=mit: no data of cc", "only of aa, bb"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_languages_are_refused_in_one_line_before_anything_is_written(
    case: str, material: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words, expected = BAD[case]
    monkeypatch.chdir(material)
    assert main([*TEACHER, *words, "--max_length", "16", "--max_steps", "2", "--output_dir", "new"]) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    for part in expected:
        assert part in line
    assert not (material / "new").exists()


def test_a_fine_tuning_alone_does_not_start_the_sample(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--language_sft", "aa=x", "--output_dir", "new"]) == 2
    assert "--teacher_model --text missing" in capfd.readouterr().err
