"""Test `make demo`: its pipeline, its seeds, and the tables, the picture and the record that it makes of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tiny

from bistil_ds.demo import __main__ as command
from bistil_ds.demo.pipeline import Material, _run, part_of_seed, pipeline
from bistil_ds.demo.scores import CLAIMS, MODELS, held, mean_of, scores_of, sizes_of
from bistil_ds.demo.show import draw, tables, validation_history
from bistil_ds.runs.record import RunRecord

TASKS = ("mlm", "embed", "ner")
SHARES = {"student": 0.8, "teacher": 0.9, "no_phase_1": 0.7, "scratch": 0.6}


def evaluation(task: str, more: float = 0.0) -> dict[str, Any]:
    """Return what `evaluate.py` writes for the four models; each scores `more` above its share."""
    metric = {"mlm": "accuracy", "embed": "accuracy"}.get(task, "f1")
    tests = ("en-tr",) if task == "embed" else ("en", "tr")

    def estimate(value: float) -> dict[str, Any]:
        return {metric: {"value": value, "low": value - 0.01, "high": value + 0.02}}

    def model(share: float) -> dict[str, Any]:
        cell = {"score": estimate(share + more), "difference_to_reference": estimate(share - SHARES["student"])}
        size = {"parameters": 1234567, "bytes": 5_000_000, "examples_per_second": 321.0}
        return {**size, "languages": dict.fromkeys(tests, cell)}

    models = {name: model(share) for name, share in SHARES.items()}
    return {"task": task, "metric": metric, "test_sets": {key: {} for key in tests}, "models": models}


def seed(more: float = 0.0) -> dict[str, Any]:
    return scores_of({task: evaluation(task, more) for task in TASKS})


SIZES = sizes_of({task: evaluation(task) for task in TASKS})


def test_a_difference_is_the_student_minus_another_with_its_interval_turned_around() -> None:
    scores = seed()
    assert list(scores) == ["mlm en", "mlm tr", "embed en-tr", "ner en", "ner tr"]
    assert scores["ner tr"]["teacher"] == pytest.approx({"value": 0.9, "low": 0.89, "high": 0.92})
    assert scores["ner tr"]["student - teacher"] == pytest.approx({"value": -0.1, "low": -0.12, "high": -0.09})
    assert scores["mlm en"]["student - no_phase_1"] == pytest.approx({"value": 0.1, "low": 0.08, "high": 0.11})


def test_seeds_get_their_mean_and_an_interval_of_it_and_one_seed_keeps_its_own() -> None:
    mean = mean_of([seed(0.01), seed(0.02), seed(0.06)])["ner tr"]["student"]
    half = 4.303 * 0.02646 / 3**0.5  # t(2) times the standard deviation of 1, 2 and 6 points over the root of 3
    assert mean == pytest.approx({"value": 0.83, "low": 0.83 - half, "high": 0.83 + half}, abs=1e-4)
    assert mean_of([seed()]) == seed()


def test_claims_are_counted_in_the_target_language_only() -> None:
    worse = seed()
    worse["ner tr"] = {**worse["ner tr"], "student - no_phase_1": {"value": -0.01, "low": -0.02, "high": 0.0}}
    near, far, phase_1 = (held([seed(), worse], "tr")[claim.text] for claim in CLAIMS)
    assert near == {"mlm tr": 0, "embed en-tr": 0, "ner tr": 0}  # 10 points below
    assert far == {"mlm tr": 2, "embed en-tr": 2, "ner tr": 2}
    assert phase_1 == {"mlm tr": 2, "embed en-tr": 2, "ner tr": 1}


def test_the_tables_have_every_model_with_sizes_speed_scores_and_claims() -> None:
    text = "\n".join(table.markdown() for table in tables([seed()], SIZES, "tr"))
    assert all(name in text for name in (*MODELS.values(), *(claim.text for claim in CLAIMS)))
    for piece in ("1,234,567", "5.0", "321", "90.0 [89.0, 92.0]", "+10.0 [+8.0, +11.0]"):
        assert piece in text
    for piece in ("masked tokens tr", "translations found en-tr", "ner en"):
        assert piece in text


def panels(picture: Path) -> list[np.ndarray]:
    """Return the picture's five panels, each [height, width, RGBA] between 0 and 1."""
    return np.array_split(plt.imread(picture), 5, axis=1)


def test_the_picture_shows_the_newest_checkpoint_and_the_scores(tmp_path: Path) -> None:
    for step in (30, 60):
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        rows = [
            {"step": s, "eval_loss": 1, "eval_en_loss": 1 / (s + 1), "eval_tr_loss": 2.0} for s in range(0, step, 10)
        ]
        (checkpoint / "trainer_state.json").write_text(json.dumps({"log_history": rows}))
    picture = tmp_path / "demo.png"

    def drawn(*seeds: dict[str, Any]) -> list[np.ndarray]:
        draw(picture, seeds, SIZES, tmp_path)
        return panels(picture)

    before = drawn(seed())
    assert all((panel < 0.9).any(axis=2).mean() > 0.02 for panel in before)  # every panel shows something
    other = json.dumps({"log_history": [{**row, "eval_tr_loss": 40.0} for row in rows]})
    (tmp_path / "checkpoint-30" / "trainer_state.json").write_text(other)
    assert all(map(np.array_equal, drawn(seed()), before))
    (tmp_path / "checkpoint-60" / "trainer_state.json").write_text(other)
    after = drawn(seed())
    assert [np.array_equal(*pair) for pair in zip(before, after)] == [False, True, True, True, True]
    assert not np.array_equal(drawn(seed(), seed(-0.3))[2], after[2])  # other means, and intervals


def test_a_seed_draws_its_own_part_of_the_sentences(tmp_path: Path) -> None:
    file = tmp_path / "en-train.iob2"
    file.write_text("".join(f"word{n}\tO\n.\tO\n\n" for n in range(40)))
    parts = []
    for number in (0, 1, 9, 10):
        (tmp_path / str(number)).mkdir()
        parts.append(part_of_seed(file, tmp_path / str(number), 4, number).read_text())
    assert parts[0] == parts[3] == "".join(f"word{n}\tO\n.\tO\n\n" for n in range(4))
    assert parts[1].startswith("word4\t")
    assert parts[2] == "".join(f"word{n}\tO\n.\tO\n\n" for n in range(36, 40))


def test_a_seed_that_is_done_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[int] = []

    def pipeline(folder: Path, material: object, number: int) -> dict[str, dict[str, Any]]:
        folder.mkdir(parents=True, exist_ok=True)
        run.append(number)
        if len(run) == 2:
            raise KeyboardInterrupt
        return {task: evaluation(task) for task in TASKS}

    monkeypatch.setattr(command, "pipeline", pipeline)
    monkeypatch.setattr(command, "sample_material", lambda: Material(tmp_path, {}, "ner", lambda *_: tmp_path, 4, {}))
    monkeypatch.setattr(command, "draw", lambda path, *_: path.write_bytes(b""))
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    flags = ["--seeds", "3", "--output_dir", str(tmp_path / "run")]
    assert command.main(flags) == 130
    assert command.main(flags) == 0
    assert run == [0, 1, 1, 2]
    (record,) = (tmp_path / "results").glob("demo-cpu-*.json")
    content = json.loads(record.read_text())
    assert [row["seed"] for row in content["rows"]] == [0, 1, 2]
    assert content["mean"]["ner tr"]["student"] == {"value": 0.8, "low": 0.8, "high": 0.8}
    assert content["held"][CLAIMS[1].text] == {"mlm tr": 3, "embed en-tr": 3, "ner tr": 3}
    assert record.with_suffix(".png").is_file()
    assert content["settings"] == {"task": "ner", "examples": 4, "flags": {}}


def test_a_finished_run_of_a_seed_is_kept_and_an_interrupted_one_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def main(words: list[str]) -> int:
        ran.append(Path(words[-1]).name)
        RunRecord(words[-1], arguments={}).finish()
        return 0

    monkeypatch.setattr("bistil_ds.commands.teacher.main", main)
    RunRecord(tmp_path / "a", arguments={}).finish()
    RunRecord(tmp_path / "b", arguments={})
    (tmp_path / "b" / "half").write_text("")
    for name in "abc":
        _run("teacher", tmp_path / name, seed=1)
    assert ran == ["b", "c"]
    assert not (tmp_path / "b" / "half").exists()
    monkeypatch.setattr("bistil_ds.commands.teacher.main", lambda words: 2)
    with pytest.raises(subprocess.CalledProcessError) as failed:
        _run("teacher", tmp_path / "d")
    assert failed.value.returncode == 2
    monkeypatch.setattr("bistil_ds.commands.teacher.main", lambda words: 130)
    with pytest.raises(KeyboardInterrupt):
        _run("teacher", tmp_path / "d")


def test_a_number_of_seeds_below_1_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seeds", "0"]) == 2
    assert capsys.readouterr().err == "error: --seeds 0: give at least 1\n"


@pytest.mark.slow
def test_the_whole_pipeline_runs_on_small_material(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BISTIL_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    quiet = {"report_to": "none", "disable_tqdm": "true"}
    tuning = {"full_max_steps": 2, "sparse_max_steps": 2, "per_device_train_batch_size": 4, "max_length": 64, **quiet}
    texts = dict(zip(tiny.SYLLABLES, tiny.write_texts(tmp_path, 300)))

    def task_file(task: str, language: str, split: str) -> Path:
        if task == "mlm":
            return texts[language]
        return tiny.write_entities(tmp_path / f"{language}-{split}.iob2", 20, 1, language=language)

    material = Material(
        tiny.write_teacher(tmp_path / "mmt"),
        texts,
        "ner",
        task_file,
        10,
        {
            "general": {"max_steps": 2, "max_length": 32, "per_device_train_batch_size": 2, **quiet},
            "teacher": tuning,
            "task": tuning,
            "pretrain": {"steps": 2, "batch_size": 2, "length": 32},
            "evaluate": {"max_length": 32, "resamples": 10},
        },
    )
    found = pipeline(tmp_path / "run", material, 1)
    assert list(found) == ["mlm", "embed", "ner"]
    sizes = {name: size["parameters"] for name, size in sizes_of(found).items()}
    assert sizes["teacher"] > sizes["student"] == sizes["no_phase_1"] == sizes["scratch"]
    singles = {f"{task} {language}" for task in ("mlm", "ner") for language in tiny.SYLLABLES}
    assert set(scores_of(found)) == {*singles, "embed " + "-".join(tiny.SYLLABLES)}
    assert [row["step"] for row in validation_history(tmp_path / "run" / "student")] == [0, 2]
    seeds = {
        name: json.loads((tmp_path / "run" / name / "run.json").read_text())["seeds"] for name in ("student", "scratch")
    }
    assert all(1 in found.values() for found in seeds.values())


def test_ctrl_c_ends_it_quietly_and_a_stage_that_fails_with_its_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "sample_material", lambda: None)

    def stop(error: BaseException) -> None:
        def pipeline(*_: object) -> None:
            raise error

        monkeypatch.setattr(command, "pipeline", pipeline)

    stop(KeyboardInterrupt())
    assert command.main([]) == 130
    stop(subprocess.CalledProcessError(2, "general"))
    with pytest.raises(SystemExit) as ended:
        command.main([])
    assert ended.value.code == 2
