"""Test that trackers are checked before training and know what a run is called."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from tracked import mlflow_runs, wandb_runs
from transformers import PrinterCallback, TrainingArguments
from transformers.integrations import MLflowCallback

from bistil_ds.distillation.arguments import DistillationArguments
from bistil_ds.errors import InputError
from bistil_ds.training import trackers
from bistil_ds.training.base_trainer import BaseTrainer
from bistil_ds.training.trackers import RunMlflow, RunWandb, check_trackers, keep_in_run_folder, tracked_name


@pytest.mark.parametrize(
    ("name", "gone"), [("wandb", "wandb"), ("mlflow", "mlflow"), ("mlflow", "sqlalchemy"), ("mlflow", "alembic")]
)
def test_a_tracker_that_is_not_installed_is_refused(name: str, gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(trackers, "find_spec", lambda module: None if module == gone else object())
    with pytest.raises(InputError) as error:
        check_trackers(["tensorboard", name])
    assert f"--report_to {name}: {gone} is not installed; pip install {gone}" in str(error.value).replace("-skinny", "")


@pytest.mark.skipif(find_spec("comet_ml") is not None, reason="comet_ml is installed")
def test_other_trackers_are_checked_by_what_transformers_says() -> None:
    with pytest.raises(InputError, match=r"--report_to: .*comet"):
        check_trackers("comet_ml")


def test_what_needs_nothing_passes_and_a_name_nobody_knows_does_not() -> None:
    for name in ("none", "tensorboard", ["tensorboard"], [], None):
        check_trackers(name)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="papyrus"):
        check_trackers(["papyrus"])


def test_wandb_that_is_not_logged_in_is_refused_unless_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR"):  # where a key would be found, and logs written
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"--report_to wandb: .*WANDB_MODE=offline"):
        check_trackers("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_trackers("wandb")


@pytest.mark.parametrize(
    ("folder", "run_name", "name"),
    [
        ("runs/ner", None, "ner"),
        ("runs/ner", "second try", "second try"),
        ("runs/ner/stage-2-sparse", None, "ner/stage-2-sparse"),
        ("runs/ner/stage-1-full", "second try", "second try/stage-1-full"),
    ],
)
def test_a_tracked_run_is_called_as_its_folder_or_by_its_flag(folder: str, run_name: str | None, name: str) -> None:
    args = TrainingArguments(output_dir=folder, run_name=run_name, report_to="none", use_cpu=True)
    assert tracked_name(args) == name


def test_our_callbacks_take_the_place_of_theirs_and_leave_the_callers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        """Stand-in for wandb's callback, which needs wandb."""

    class Users(MLflowCallback):
        def __init__(self) -> None:
            """Need no mlflow."""

        def __del__(self) -> None:
            """End nothing."""

    first, users, last = Plain(), Users(), object()
    monkeypatch.setattr(trackers, "WandbCallback", Plain)
    monkeypatch.setattr(RunWandb, "__init__", lambda self: None)
    handler: Any = type("Handler", (), {"callbacks": [first, users, last]})
    keep_in_run_folder(type("Fake", (), {"callback_handler": handler}))  # type: ignore[arg-type]
    [one, two, three] = handler.callbacks
    assert type(one) is RunWandb
    assert (two, three) == (users, last)
    assert issubclass(RunMlflow, MLflowCallback)


def test_several_trackers_can_be_asked_for() -> None:
    from bistil_ds.console import cli
    from bistil_ds.tuning.arguments import TaskTrainingArguments

    for kind in (DistillationArguments, TaskTrainingArguments):
        assert cli.parse([], [kind], "").report_to == ["tensorboard"]
        assert cli.parse(["--report_to", "tensorboard", "mlflow"], [kind], "").report_to == ["tensorboard", "mlflow"]
        assert cli.parse(["--report_to", "none"], [kind], "").report_to == ["none"]
    args = DistillationArguments(output_dir="x", report_to=["none"])
    assert args.report_to == []


class Line(nn.Module):
    """One weight, fitted to numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": ((self.weight * x - labels) ** 2).mean()}


class LineTrainer(BaseTrainer):
    """A trainer with the model's own loss, which counts no tokens."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(**inputs)
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]


@pytest.mark.slow
def test_two_trainers_of_one_process_keep_apart_and_a_late_validation_finds_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("wandb", "mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(module)
    for name in ("MLFLOW_TRACKING_URI", "WANDB_CACHE_DIR"):  # set first, so that what our code sets is undone
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in {"WANDB_MODE": "offline", "HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    rows = [{"x": torch.ones(1), "labels": torch.ones(1)}] * 8
    for folder in (tmp_path / "one", tmp_path / "two"):
        args = TrainingArguments(
            str(folder), max_steps=2, logging_steps=1, report_to=["wandb", "mlflow"], use_cpu=True, disable_tqdm=True
        )
        trainer = LineTrainer(Line(), args, train_dataset=rows, eval_dataset=rows)  # type: ignore[arg-type]
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        trainer.evaluate()
    import wandb

    wandb.finish()
    for folder in (tmp_path / "one", tmp_path / "two"):
        [by_wandb], [by_mlflow] = wandb_runs(folder), mlflow_runs(f"sqlite:///{folder / 'mlflow.db'}", "bistil")
        assert by_wandb.name == by_mlflow.name == folder.name
        for kind, name in (("train", "loss"), ("eval", "loss")):
            values = by_mlflow.metrics[name if kind == "train" else f"eval_{name}"]
            assert values == by_wandb.metrics[f"{kind}/{name}"]
            assert len(values) == (2 if kind == "train" else 1)
    assert not (tmp_path / "home").exists()
