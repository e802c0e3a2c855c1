"""The command `bistil-trim`: one run, and bad input: one line, exit code 2, nothing written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest import mock

import pytest
import tiny
from transformers import GPT2Config, T5Config

from bistil_ds.commands.trim import main
from bistil_ds.sample.defaults import SAMPLE_LANGUAGES

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trim")
    tiny.write_texts(folder, 60)
    tiny.write_xlmr(folder / "base")
    for name, values in (
        ("small table", {"vocab_size": 150}),
        ("no class", {"architectures": None}),
        ("another class", {"architectures": ["XLMRobertaForParsing"]}),
        ("own code", {"auto_map": {"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"}}),
        ("another padding", {"pad_token_id": 40}),
    ):
        change(folder, name, "config.json", values)
    shutil.copytree(folder / "base", folder / "slow")
    (folder / "slow" / "tokenizer.json").unlink()
    change(folder, "slow", "tokenizer_config.json", {"tokenizer_class": "ByT5Tokenizer"})
    GPT2Config(n_layer=1, architectures=["GPT2Model"]).save_pretrained(folder / "decoder")
    T5Config(num_layers=1, architectures=["T5Model"]).save_pretrained(folder / "both")
    for name in ("decoder", "both"):
        for path in (folder / "base").glob("*token*"):
            shutil.copy(path, folder / name)
    for name, kind, path in (
        ("outside", "sentence_transformers.models.Pooling", "../1_Pooling"),
        ("foreign", "custom_st.Pooling", "1_Pooling"),
    ):
        tiny.write_sentence_folder(folder / name)
        modules = json.loads((folder / name / "modules.json").read_text())
        modules[1] |= {"type": kind, "path": path}
        (folder / name / "modules.json").write_text(json.dumps(modules))
    (folder / "ids").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "notes.txt").write_text("mine")
    return folder


def change(folder: Path, name: str, file: str, values: dict[str, object]) -> None:
    if not (folder / name).exists():
        shutil.copytree(folder / "base", folder / name)
    path = folder / name / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture(autouse=True)
def place(material: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(material)
    monkeypatch.setenv("BISTIL_CACHE", str(material / "cache"))


BASE = {"--model": "base", "--text": "aa=aa.txt bb=bb.txt", "--output_dir": "out"}
BAD = {
    "coverage above 1": ({"--coverage": "1.5"}, ["--coverage 1.5", "at most 1"]),
    "coverage of nothing": ({"--coverage": "0"}, ["--coverage 0", "above 0"]),
    "coverage NaN": ({"--coverage": "nan"}, ["--coverage nan", "above 0"]),
    "two sizes": ({"--coverage": "0.9", "--vocab_size": "100"}, ["--vocab_size 100", "--coverage 0.9", "one of them"]),
    "size too small": ({"--vocab_size": "3"}, ["--vocab_size 3", "always stay"]),
    "size too large": ({"--vocab_size": "100000"}, ["--vocab_size 100000", "at most the 170"]),
    "a negative size": ({"--vocab_size": "-3"}, ["--vocab_size -3", "at least 1"]),
    "a threshold of 1": ({"--vocab_threshold": "1"}, ["--vocab_threshold 1.0", "under 1"]),
    "a threshold that keeps nothing": ({"--vocab_threshold": "0.5"}, ["texts of aa would keep no token", "0.5"]),
    "rounding to 0": ({"--round_to": "0"}, ["--round_to 0", "such as 64"]),
    "no texts at all": ({"--max_texts": "0"}, ["--max_texts 0", "at least 1"]),
    "a language twice": ({"--text": "aa=aa.txt aa=bb.txt"}, ["--text: aa is given twice"]),
    "a text without a language": ({"--text": "aa.txt"}, ["--text aa.txt", "such as tr=tr.txt"]),
    "a language that is a path": ({"--text": "../aa=aa.txt"}, ["--text ../aa", "letters, digits"]),
    "no such text": ({"--text": "aa=none.txt"}, ["--text aa", "none.txt"]),
    "no model": ({"--model": None}, ["--model missing"]),
    "no text": ({"--text": None}, ["--text missing"]),
    "no such model": ({"--model": "none/at/all"}, ["--model none/at/all", "no such folder"]),
    "a table too small": ({"--model": "small table"}, ["--model small table", "170 ids", "150 rows"]),
    "no class": ({"--model": "no class"}, ["--model no class", "names no class"]),
    "a class of others": ({"--model": "another class"}, ["--model another class", "XLMRobertaForParsing"]),
    "code of its own": ({"--model": "own code"}, ["--model own code", "auto_map", "gte-multilingual-base"]),
    "a padding id of others": (
        {"--model": "another padding", "--coverage": "0.5"},
        ["another padding", "pad_token_id 40"],
    ),
    "a slow tokenizer": ({"--model": "slow"}, ["--model slow", "fast tokenizer"]),
    "a decoder": ({"--model": "decoder"}, ["--model decoder", "'gpt2', no encoder"]),
    "an encoder-decoder": ({"--model": "both"}, ["--model both", "'t5', no encoder"]),
    "modules outside": ({"--model": "outside"}, ["--model outside", "modules.json", "inside of it"]),
    "modules of others": ({"--model": "foreign"}, ["--model foreign", "custom_st.Pooling", "code of its own"]),
    "a licence in words": ({"--licence": "MIT License"}, ["--licence MIT License", "cc-by-4.0"]),
    "a full folder": ({"--output_dir": "full"}, ["--output_dir full", "not empty"]),
    "rebuilding what is no trim": (
        {"--model": None, "--text": None, "--rebuild": "ids"},
        ["ids/trimming.json", "no such file"],
    ),
    "rebuilding with texts": ({"--rebuild": "ids"}, ["--text", "no effect beside --rebuild"]),
    "rebuilding by another size": ({"--text": None, "--rebuild": "ids", "--coverage": "0.5"}, ["--coverage"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(case: str, material: Path, capsys: Capture) -> None:
    changes, said = BAD[case]
    flags = {name: value for name, value in {**BASE, **changes}.items() if value is not None}
    words = [
        part for name, value in flags.items() for part in (name, *(value.split() if name == "--text" else [value]))
    ]
    before = {path for path in material.rglob("*") if "cache" not in path.parts}
    assert main(words) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert [part for part in said if part not in errors[0]] == [], errors
    assert {path for path in material.rglob("*") if "cache" not in path.parts} == before


def test_a_run_prints_sizes_languages_and_the_proof(material: Path, tmp_path: Path, capsys: Capture) -> None:
    flags = ["--coverage", "0.9", "--round_to", "8", "--output_dir", str(tmp_path / "out")]
    assert main(["--model", "base", "--text", "aa=aa.txt", "bb=bb.txt", *flags]) == 0
    *shown, last = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in shown if line.strip()}
    assert rows["tokens"][0] == "170"
    assert int(rows["tokens"][1]) % 8 == 0
    assert rows["aa"][1:] == ["of", "30", "0"]  # the last table: texts cut the same, largest difference
    assert last == str(tmp_path / "out")


def test_each_prints_one_table(material: Path, tmp_path: Path, capsys: Capture) -> None:
    flags = ["--each", "--ids_only", "--output_dir", str(tmp_path / "out")]
    assert main(["--model", "base", "--text", "aa=aa.txt", "bb=bb.txt", *flags]) == 0
    shown = capsys.readouterr().out
    assert shown.count("Vocabulary trimming") == 1
    assert [line.split()[-1] for line in shown.splitlines() if line.split()[:1] in (["aa"], ["bb"])] == ["0", "0"]
    assert main(["--rebuild", str(tmp_path / "out" / "bb"), "--output_dir", str(tmp_path / "bb")]) == 0
    assert (tmp_path / "bb" / "model.safetensors").is_file()


def test_without_model_and_text_the_sample_is_trimmed(material: Path, tmp_path: Path) -> None:
    texts = dict(zip(SAMPLE_LANGUAGES, (material / "aa.txt", material / "bb.txt")))
    with (
        mock.patch("bistil_ds.sample.sample_mmt", return_value=material / "base", create=True),
        mock.patch("bistil_ds.sample.sample_corpora", return_value=texts, create=True),
    ):
        assert main(["--output_dir", str(tmp_path / "out"), "--vocab_size", "110"]) == 0
    assert set(json.loads((tmp_path / "out" / "trimming.json").read_text())["agreement"]) == set(SAMPLE_LANGUAGES)
