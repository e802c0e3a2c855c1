"""Test the command of the latency benchmark as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import write_teacher, write_texts

from benchmarks.latency import main
from benchmarks.memory import main as memory_main
from bistil_ds.benchmarking.latency.flags import sentences
from bistil_ds.errors import InputError


def test_a_model_without_weights_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_teacher(tmp_path / "tiny")
    (folder / "model.safetensors").unlink()
    capsys.readouterr()
    for command in (main, memory_main):
        flags = ["--length", "8"] if command is memory_main else []
        assert command(["--model", str(folder), "--quick", "--output_dir", str(tmp_path / "out"), *flags]) == 2
        error = capsys.readouterr().err
        assert f"--model {folder}: " in error
        assert error.count("\n") == 1
    assert not list((tmp_path / "out").iterdir())


def test_the_command_compares_folders_on_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(write_teacher(tmp_path / f"{n} layers", layers=n)) for n in (8, 2)]
    text, _ = write_texts(tmp_path, lines=40)
    flags = ["--model", *folders, "--text_file", str(text), "--quick", "--minutes", "0.01", "--threads", "1"]
    assert main([*flags, "--output_dir", str(tmp_path / "out")]) == 0
    (path,) = (tmp_path / "out").glob("*.json")
    content = json.loads(path.read_text())
    rows = {row["model"]: row for row in content["rows"]}
    assert rows["2 layers"]["ratio"]["median"] < 1
    assert len(rows["2 layers"]["tokenisation"]["seconds"]) == 40
    assert rows["2 layers"]["tokenisation"]["tokens"] == rows["8 layers"]["tokenisation"]["tokens"]
    assert content["threads"]["torch"]
    assert content["interrupted"] is False
    assert ">2 layers<" in path.with_suffix(".svg").read_text()
    assert "2 layers" in capsys.readouterr().out


def test_texts_of_several_files_take_turns(tmp_path: Path) -> None:
    paths = [tmp_path / "en.txt", tmp_path / "de.txt"]
    for path in paths:
        path.write_text("".join(f"{path.stem} {number}\n" for number in range(4)))
    names = [str(path) for path in paths]
    assert sentences(names, 8) == [f"{language} {number}" for number in range(4) for language in ("en", "de")]
    assert len(sentences(names[:1], 1)) == 4
    assert sentences([], 8) == []
    with pytest.raises(InputError, match=r"--text_file \S+en.txt: 4 texts, and a batch takes 8"):
        sentences(names[:1], 8)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--model", "/no/such"], "there is no such folder"),
        (["--text_file", "{text}"], "is a shape, which has no tokenizer for texts; give folders or hub ids"),
        (["--minutes", "0"], "above 0"),
        (["--threads", "0"], "at least 1"),
        (["--engine", "magic"], "invalid choice"),
        (["--device", "cuda:77"], "--device cuda:77"),
        (["--device", "meta"], "cannot be timed"),
        (["--model", "{tiny}", "--grid", "full"], "at most 64 tokens"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    flags: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, _ = write_texts(tmp_path, lines=4)
    tiny = write_teacher(tmp_path / "tiny")
    capsys.readouterr()  # discards transformers' progress bar
    assert main([each.format(text=text, tiny=tiny) for each in flags]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
