"""Rehearse a whole grid of the claims benchmark with the real commands, on a tiny teacher without a masked-LM head."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import tiny

from benchmarks.claims import main
from bistil_ds.benchmarking.claims.runner import Runner
from bistil_ds.benchmarking.harness.result_file import read_result

GRID = """
languages: [en, de, tr]
text: text/{language}.txt
resamples: 20
phase_1: {max_steps: 3, eval_steps: 3, save_steps: 3, max_length: 32}
head: {steps: 3, batch_size: 4, length: 32}
scratch: {steps: 3, batch_size: 4, length: 32}
systems:
  teacher: {kind: teacher, label: teacher}
  trimmed: {kind: trimmed, label: trimmed teacher}
  k2: {label: student}
  dense: {of: k2, label: dense phase 2, phase_2: {dense: "true"}}
  untrained: {kind: untrained, of: k2, label: no phase 1}
  scratch: {kind: scratch, of: k2, label: from scratch}
  distilmbert: {languages: all, head: true, label: DistilmBERT's way, phase_1: {preset: distilmbert}}
  minilmv2: {languages: all, budget: language, label: MiniLMv2's way, phase_1: {preset: minilmv2}}
tasks:
  ner:
    train: [train.txt]
    dev: dev.txt
    test: {en: en.txt, de: de.txt}
    teacher: &short {full_max_steps: 2, sparse_max_steps: 2, per_device_train_batch_size: 4}
    student: *short
roles: {teacher: teacher, student: k2, rivals: [distilmbert, minilmv2], scratch: scratch}
grid:
  - targets: [de]
    tasks: [ner]
    seeds: [0]
    systems: [teacher, trimmed, k2, dense, untrained, scratch, distilmbert, minilmv2]
"""


def in_process(self: Runner, words: list[str]) -> int:
    """Run a command in this process, which has imported everything already."""
    code: int = import_module(f"bistil_ds.commands.{words[0]}").main(words[1:])
    return code


@pytest.mark.slow
def test_a_whole_grid_is_made_by_the_real_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runner, "_wait", in_process)
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path / "cache"))
    tiny.write_xlmr(tmp_path / "mmt", "Model", layers=4)
    (tmp_path / "text").mkdir()
    for language, made_of in (("en", "aa"), ("de", "bb"), ("tr", "aa")):
        lines = tiny.text_lines(made_of, 150, seed=len(language) + ord(language[0]))
        (tmp_path / "text" / f"{language}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, language, seed in (("train", "aa", 1), ("dev", "aa", 2), ("en", "aa", 3), ("de", "bb", 4)):
        tiny.write_entities(tmp_path / f"{name}.txt", 30, seed, language=language)
    (tmp_path / "grid.yaml").write_text(GRID)
    flags = ["--teacher", str(tmp_path / "mmt"), "--data_dir", str(tmp_path), "--config", str(tmp_path / "grid.yaml")]
    assert main([*flags, "--output_dir", str(tmp_path / "out")]) == 0
    (path,) = (tmp_path / "out").glob("claims-cpu-*.json")
    rows = {row["system"]: row for row in read_result(path)["rows"]}
    assert list(rows) == ["teacher", "trimmed", "k2", "dense", "untrained", "scratch", "distilmbert", "minilmv2"]
    assert rows["trimmed"]["scores"]["de"]["value"] == pytest.approx(rows["teacher"]["scores"]["de"]["value"], abs=0.02)
    assert rows["k2"]["parameters"] < rows["trimmed"]["parameters"] <= rows["teacher"]["parameters"]
    assert rows["untrained"]["general"]["tokens"] == rows["teacher"]["general"]["tokens"] == 0
    assert rows["k2"]["general"]["tokens"] == 3 * 8 * 32
    assert rows["minilmv2"]["general"]["tokens"] == 5 * 8 * 32  # three languages, as many steps each as two have in 3
    assert rows["distilmbert"]["general"]["tokens"] == 3 * (8 + 4) * 32  # phase 1, and the teacher's head
    for row in rows.values():
        assert row["tuning"]["tokens"] > 0
        assert row["tuning"]["seconds"] > 0
    assert path.with_suffix(".md").is_file()
