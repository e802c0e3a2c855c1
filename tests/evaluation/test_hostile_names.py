"""Test that names in flags, folders and files neither drive the terminal nor break the reports of an evaluation."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from evaluation_files import Files, write_task_file
from markdown_it import MarkdownIt
from tiny_task import Topics

from bistil_ds.commands import evaluate
from bistil_ds.console.untrusted import one_line

TITLE = "\x1b]0;owned\x07"  # sets the title of a terminal's window
EVIL = f"{TITLE}\x1b[31m\u202e[/x]<script>|`#"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    """Let the streams be a terminal, for which nothing is filtered out."""
    monkeypatch.setattr(evaluate, "find_task", lambda name: Topics())
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    return capsys


def check_harmless(text: str) -> None:
    for part in (TITLE, "\x1b[31m", "\u202e", "\udcff"):
        assert part not in text


def test_a_whole_evaluation_with_hostile_names(
    files: Files, tmp_path: Path, terminal: pytest.CaptureFixture[str]
) -> None:
    base = Path(shutil.copytree(files.base, tmp_path / "b[/x]"))
    test = write_task_file(tmp_path / f"aa{EVIL.replace('/', '')}" / "test.tsv", "aa", 20, seed=3)
    out = tmp_path / "out[/x]\x1b[31m"
    words = ["--model", f"{EVIL}={base}+{files.sft}", f"other={files.finished}", "--test_file", str(test)]
    assert evaluate.main([*words, "--task", "topics", "--resamples", "20", "--output_dir", str(out)]) == 0
    shown = terminal.readouterr()
    check_harmless(shown.out + shown.err)
    assert one_line(str(out)) in shown.out
    assert EVIL in json.loads((out / "evaluation.json").read_text())["models"]
    report = (out / "evaluation.md").read_text()
    check_harmless(report)
    tokens = MarkdownIt().enable("table").parse(report)
    inside = {child.type for token in tokens for child in token.children or []}
    assert inside <= {"text", "text_special", "softbreak"}
    assert one_line(EVIL) in ["".join(c.content for c in token.children or []) for token in tokens]


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--model", f"./{EVIL}"),
        ("--model", "x" * 5000),
        ("--sft", "\udcff\x1b[31m"),
        ("--test_file", f"aa={EVIL}"),
        ("--test_file", f"aa={'y' * 300}"),
        ("--task", EVIL),
        ("--output_dir", "z" * 300),
        ("--label_map", f"{EVIL}"),
        (f"--{EVIL}", "1"),
        ("--reference", EVIL),
        ("--limit", EVIL),
    ],
)
def test_a_refused_name_is_one_harmless_line(
    files: Files,
    tmp_path: Path,
    terminal: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    flag: str,
    value: str,
) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    flags = {
        "--model": str(files.finished),
        "--task": "ner",
        "--test_file": str(files.tests["aa"]),
        "--output_dir": "out",
    }
    words = [word for pair in {**flags, flag: value}.items() for word in pair]
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    assert evaluate.main(words) == 2
    error = terminal.readouterr().err
    check_harmless(error)
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
