"""Test that wandb and mlflow, offline, get what TensorBoard gets, in the run's folder and from one rank only."""

from __future__ import annotations

from pathlib import Path

import pytest
from launch import general, history, run_script
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import write_entities, write_teacher, write_texts
from tracked import Tracked, mlflow_runs, wandb_runs

pytestmark = pytest.mark.slow

ALL = ["--report_to", "tensorboard", "wandb", "mlflow", "--disable_tqdm", "true", "--logging_steps", "1"]
TERMS = [f"{language}/{term}" for language in ("aa", "bb") for term in ("loss", "hidden", "attention", "hidden_0")]
VITAL = ["loss", "learning_rate", "grad_norm", "tokens_per_second", "memory_gib"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty home folder, which is also the current one; wandb is offline and nothing else is said."""
    for module in ("wandb", "mlflow", "sqlalchemy"):
        pytest.importorskip(module)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.delenv("WANDB_SERVICE", raising=False)  # one that an earlier test started would keep runs open
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    key = tmp_path / "seal_key"
    key.write_text("7" * 64)
    said = {"HOME": folder, "WANDB_MODE": "offline", "MPLCONFIGDIR": tmp_path / "matplotlib", "BISTIL_SEAL_KEY": key}
    for name, value in said.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(folder)
    return folder


def phase_1(place: Path, *flags: object, ranks: int = 1) -> Path:
    """Run four steps of phase 1 on a tiny model and return the run's folder."""
    texts = write_texts(place, 300)
    words = ["--teacher_model", write_teacher(place / "mmt"), "--source_language", "aa", "--target_language", "bb"]
    words += ["--source_file", texts[0], "--target_file", texts[1], "--max_steps", "4", "--max_length", "32"]
    words += ["--per_device_train_batch_size", "2", "--output_dir", place / "run", *ALL, *flags]
    done = general(*words, ranks=ranks, cache=place / "cache")
    assert done.returncode == 0, done.stderr
    return place / "run"


def board(folder: Path) -> dict[str, list[float]]:
    """Return what TensorBoard's log below `folder` holds."""
    [events] = folder.rglob("events.*")
    log = EventAccumulator(str(events.parent)).Reload()
    return {name: [event.value for event in log.Scalars(name)] for name in log.Tags()["scalars"]}


def agree(folder: Path, by_wandb: Tracked, by_mlflow: Tracked, name: str) -> None:
    """Check one metric: the same values in all three, and as many as steps."""
    known = history(folder, name)
    assert by_mlflow.metrics[name] == pytest.approx(known)
    assert by_wandb.metrics[f"train/{name}"] == pytest.approx(known)
    assert board(folder)[f"train/{name}"] == pytest.approx(known, rel=1e-6)


@pytest.mark.parametrize("ranks", [1, 2])
def test_phase_1_is_tracked_by_all_three_in_the_runs_folder(tmp_path: Path, home: Path, ranks: int) -> None:
    folder = phase_1(tmp_path, "--run_name", "first try", ranks=ranks)
    [by_wandb] = wandb_runs(folder)
    [by_mlflow] = mlflow_runs(f"sqlite:///{folder / 'mlflow.db'}", "bistil")
    assert (by_wandb.name, by_wandb.group, by_wandb.project) == ("first try", "run", "bistil")
    assert by_mlflow.name == "first try"
    for name in [*VITAL, *TERMS]:
        agree(folder, by_wandb, by_mlflow, name)
    assert by_mlflow.metrics["eval_aa_hidden"] == pytest.approx(by_wandb.metrics["eval/aa_hidden"])
    assert len(by_mlflow.metrics["loss"]) == 4
    if ranks == 1:  # DeepSpeed's launcher imports mlflow on its own account, which then writes there
        assert sorted(home.iterdir()) == []


def test_each_stage_of_a_task_is_a_tracked_run(tmp_path: Path, home: Path) -> None:
    mmt, train = write_teacher(tmp_path / "mmt"), write_entities(tmp_path / "train.iob2", 20, 1)
    words = ["--model", mmt, "--task", "ner", "--train_file", f"aa={train}", "--dev_file", f"aa={train}", *ALL]
    words += ["--full_max_steps", "2", "--sparse_max_steps", "3", "--per_device_train_batch_size", "4"]
    folder = tmp_path / "ner"
    done = run_script("teacher", *words, "--max_length", "64", "--output_dir", folder, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    stages = ["ner/stage-1-full", "ner/stage-2-sparse"]
    by_mlflow = mlflow_runs(f"sqlite:///{folder / 'mlflow.db'}", "bistil")
    by_wandb = wandb_runs(folder)
    assert [run.name for run in by_mlflow] == [run.name for run in by_wandb] == stages
    assert [len(run.metrics["loss"]) for run in by_mlflow] == [2, 3]
    assert [len(run.metrics["train/loss"]) for run in by_wandb] == [2, 3]
    assert "eval_aa_f1" in by_mlflow[1].metrics
    assert sorted(home.iterdir()) == []


def test_what_the_environment_says_goes_first(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'theirs.db'}",
        "MLFLOW_EXPERIMENT_NAME": "pairs",
        "MLFLOW_RUN_NAME": "by mlflow",
        "WANDB_DIR": str(tmp_path / "theirs"),
        "WANDB_PROJECT": "pairs",
        "WANDB_NAME": "by wandb",
        "WANDB_RUN_GROUP": "turkish",
    }
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "theirs").mkdir()
    folder = phase_1(tmp_path)
    [run] = wandb_runs(tmp_path / "theirs")
    assert (run.name, run.group, run.project) == ("by wandb", "turkish", "pairs")
    assert [run.name for run in mlflow_runs(said["MLFLOW_TRACKING_URI"], "pairs")] == ["by mlflow"]
    assert not (folder / "wandb").exists()
    assert not (folder / "mlflow.db").exists()
