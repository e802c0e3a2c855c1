"""What `make demo` ends in: a table and a picture, from what the commands left."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bistil_ds import demo
from bistil_ds.demo import NAMES, as_table, draw


def evaluation() -> dict[str, Any]:
    def model(share: float) -> dict[str, Any]:
        score = {"f1": {"value": share, "low": share - 0.01, "high": share + 0.01}}
        languages = {language: {"score": score} for language in ("en", "tr")}
        return {"parameters": 1234567, "bytes": 5_000_000, "examples_per_second": 321.0, "languages": languages}

    shares = {"teacher": 0.9, "student": 0.8, "no_phase_1": 0.7, "scratch": 0.6}
    return {"task": "ner", "metric": "f1", "models": {name: model(share) for name, share in shares.items()}}


def test_the_table_has_every_model_with_sizes_speed_and_scores() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(as_table(evaluation()))
    text = console.export_text()
    assert [name for name in NAMES.values() if name in text] == list(NAMES.values())
    for piece in ("1,234,567", "5.0", "321", "90.0% (89.0% to 91.0%)", "f1 tr"):
        assert piece in text


def test_the_picture_is_drawn_from_the_newest_checkpoint(tmp_path: Path) -> None:
    for step in (30, 60):
        checkpoint = tmp_path / "student" / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        rows = [
            {"step": s, "eval_loss": 1, "eval_en_loss": 1 / (s + 1), "eval_tr_loss": 2.0} for s in range(0, step, 10)
        ]
        (checkpoint / "trainer_state.json").write_text(json.dumps({"log_history": rows}))
    path = draw(tmp_path, evaluation())
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert path.stat().st_size > 10_000


def test_ctrl_c_ends_it_quietly_and_a_stage_that_fails_with_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(error: BaseException) -> None:
        def pipeline(folder: Path) -> None:
            raise error

        monkeypatch.setattr(demo, "pipeline", pipeline)

    stop(KeyboardInterrupt())
    assert demo.main() == 130
    stop(subprocess.CalledProcessError(2, "general"))
    with pytest.raises(SystemExit) as ended:
        demo.main()
    assert ended.value.code == 2
