"""Test `make demo`: its pipeline, and the table and the picture that it makes from what the commands left."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tiny

from bistil_ds import demo
from bistil_ds.demo import NAMES, Material, as_table, draw, pipeline, validation_history


def evaluation() -> dict[str, Any]:
    def model(share: float) -> dict[str, Any]:
        score = {"f1": {"value": share, "low": share - 0.01, "high": share + 0.01}}
        languages = {language: {"score": score} for language in ("en", "tr")}
        return {"parameters": 1234567, "bytes": 5_000_000, "examples_per_second": 321.0, "languages": languages}

    shares = {"teacher": 0.9, "student": 0.8, "no_phase_1": 0.7, "scratch": 0.6}
    return {"task": "ner", "metric": "f1", "models": {name: model(share) for name, share in shares.items()}}


def thirds(picture: Path) -> list[np.ndarray]:
    """Return the picture's three panels, each [height, width, RGBA] between 0 and 1."""
    return np.array_split(plt.imread(picture), 3, axis=1)


def test_the_table_has_every_model_with_sizes_speed_and_scores() -> None:
    text = as_table(evaluation()).markdown()
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
    before = thirds(draw(tmp_path, evaluation()))
    assert all((third < 0.9).any(axis=2).mean() > 0.02 for third in before)  # every panel shows something
    other = json.dumps({"log_history": [{**row, "eval_tr_loss": 40.0} for row in rows]})
    (tmp_path / "student" / "checkpoint-30" / "trainer_state.json").write_text(other)
    assert all(map(np.array_equal, thirds(draw(tmp_path, evaluation())), before))
    (tmp_path / "student" / "checkpoint-60" / "trainer_state.json").write_text(other)
    after = thirds(draw(tmp_path, evaluation()))
    assert [np.array_equal(*pair) for pair in zip(before, after)] == [False, True, True]


@pytest.mark.slow
def test_the_whole_pipeline_runs_on_small_material(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BISTIL_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    quiet = {"report_to": "none", "disable_tqdm": "true"}
    tuning = {"full_max_steps": 2, "sparse_max_steps": 2, "per_device_train_batch_size": 4, "max_length": 64, **quiet}
    texts = tiny.write_texts(tmp_path, 300)
    material = Material(
        tiny.write_teacher(tmp_path / "mmt"),
        dict(zip(tiny.SYLLABLES, texts)),
        "ner",
        lambda language, split: tiny.write_entities(tmp_path / f"{language}-{split}.iob2", 20, 1, language=language),
        {
            "general": {"max_steps": 2, "max_length": 32, "per_device_train_batch_size": 2, **quiet},
            "teacher": tuning,
            "task": tuning,
            "pretrain": {"steps": 2, "batch_size": 2, "length": 32},
        },
    )
    found = pipeline(tmp_path / "run", material)
    assert list(found["models"]) == list(NAMES)
    sizes = {name: model["parameters"] for name, model in found["models"].items()}
    assert sizes["teacher"] > sizes["student"] == sizes["no_phase_1"] == sizes["scratch"]
    assert {language for model in found["models"].values() for language in model["languages"]} == set(tiny.SYLLABLES)
    assert [row["step"] for row in validation_history(tmp_path / "run" / "student")] == [0, 2]


def test_ctrl_c_ends_it_quietly_and_a_stage_that_fails_with_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(error: BaseException) -> None:
        def pipeline(folder: Path) -> None:
            raise error

        monkeypatch.setattr(demo, "pipeline", pipeline)

    stop(KeyboardInterrupt())
    assert demo.main([]) == 130
    stop(subprocess.CalledProcessError(2, "general"))
    with pytest.raises(SystemExit) as ended:
        demo.main([])
    assert ended.value.code == 2
