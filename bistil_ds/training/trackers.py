"""Make `--report_to wandb` and `--report_to mlflow` write into the run's folder, one tracked run for each trainer."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import nullcontext
from copy import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import (
    MLflowCallback,
    TensorBoardCallback,
    WandbCallback,
    get_reporting_integration_callbacks,
)

from bistil_ds.errors import InputError
from bistil_ds.runs.folder import run_of
from bistil_ds.training.log.tensor_board import RunTensorBoard

# Without this, mlflow sends data about its use over the network and writes to the home folder.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
PROJECT = "bistil"  # wandb's project and mlflow's experiment, unless the environment names another
STORE = "mlflow.db"  # in the run's folder, unless the environment names another store


def check_trackers(report_to: str | list[str] | None) -> None:
    """Check that every tracker in `report_to` can be used, before anything is built.

    Raises:
        InputError: a tracker is not installed or cannot start, or wandb is online and cannot log in.
        ValueError: transformers knows no tracker of that name; the message lists those it knows.
    """
    names = [report_to] if isinstance(report_to, str) else report_to or []
    kinds = get_reporting_integration_callbacks(report_to)
    for name in names:
        missing = [module for module in _modules(name) if find_spec(module) is None]
        if missing:
            needed = " ".join("mlflow-skinny" if module == "mlflow" else module for module in missing)
            raise InputError(f"--report_to {name}: {missing[0]} is not installed; pip install {needed}")
    if "wandb" in names:
        _check_login()
    for kind in kinds:
        if failure := _failure(kind):
            raise InputError(f"--report_to: {failure}")


def _failure(kind: type) -> str | None:
    """Return why a tracker's callback cannot be made; None if it can."""
    # Some trackers complain a second time, when Python deletes the callback that failed.
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        kind()
    except Exception as error:  # each library has errors of its own
        return str(error) or type(error).__name__
    finally:
        sys.unraisablehook = hook
    return None


def _modules(name: str) -> list[str]:
    if name == "mlflow":  # where the environment names no store, we use a database, which needs two more packages
        return ["mlflow"] if "MLFLOW_TRACKING_URI" in os.environ else ["mlflow", "sqlalchemy", "alembic"]
    return ["wandb"] if name == "wandb" else []


def _check_login() -> None:
    """Raise InputError if wandb would ask for a key once training starts, or cannot reach its server."""
    import wandb

    if os.environ.get("WANDB_MODE", "online") != "online":
        return
    hint = "run `wandb login`, or set WANDB_MODE=offline"
    try:
        if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False):
            raise InputError(f"--report_to wandb: not logged in; {hint}")
    except (wandb.Error, ValueError) as error:
        raise InputError(f"--report_to wandb: {error}; {hint}") from None
    finally:
        wandb.teardown()  # wandb's process would keep the present settings, and training begins with others


def keep_in_run_folder(trainer: Trainer) -> None:
    """Replace the callbacks of transformers with ours: they write to the run's folder, TensorBoard's one log."""
    ours = {TensorBoardCallback: RunTensorBoard, WandbCallback: RunWandb, MLflowCallback: RunMlflow}
    callbacks = trainer.callback_handler.callbacks
    # a subclass of those from transformers is the user's own, and stays
    callbacks[:] = [ours[type(one)]() if type(one) in ours else one for one in callbacks]


def tracked_name(args: TrainingArguments) -> str:
    """Return `--run_name`, by default the run folder's name; a stage adds its folder's name: `ner/stage-1-full`."""
    folder = Path(str(args.output_dir)).resolve()
    run = run_of(folder)
    name = args.run_name or run.name
    return name if run == folder else f"{name}/{folder.name}"


def _folder_of_run(args: TrainingArguments) -> Path:
    folder = run_of(Path(str(args.output_dir)).resolve())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class RunWandb(WandbCallback):
    """Callback of wandb that writes to `wandb/` in the run's folder and begins a tracked run for each trainer.

    A tracked run that the caller began is used as it is. The variables WANDB_DIR, WANDB_PROJECT, WANDB_NAME,
    WANDB_RUN_GROUP and WANDB_CACHE_DIR override the choices of this class.
    """

    begun: ClassVar[str | None] = None  # id of the tracked run that this class began last

    def setup(self, args: TrainingArguments, state: TrainerState, model: Any, **kwargs: Any) -> None:
        import wandb

        if state.is_world_process_zero:
            if wandb.run is not None and wandb.run.id == RunWandb.begun:
                wandb.finish()  # the tracked run belongs to an earlier stage
            if wandb.run is None:
                RunWandb.begun = self._begin(args)
        super().setup(args, state, model, **kwargs)

    def _begin(self, args: TrainingArguments) -> str:
        import wandb

        run = _folder_of_run(args)
        folder = os.environ.get("WANDB_DIR") or str(run)
        # wandb's own process writes its logs to this folder; without the variable they go to the home folder
        os.environ.setdefault("WANDB_CACHE_DIR", str(Path(folder) / "wandb" / "cache"))
        tracked = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=os.environ.get("WANDB_NAME") or tracked_name(args),
            group=os.environ.get("WANDB_RUN_GROUP") or run.name,
            dir=folder,
        )
        return str(tracked.id)


class RunMlflow(MLflowCallback):
    """Callback of mlflow that writes to `mlflow.db` in the run's folder and names each tracked run.

    If the caller began a tracked run, it is used. If the caller or MLFLOW_TRACKING_URI chose a store, it is used, too.
    MLFLOW_EXPERIMENT_NAME and MLFLOW_RUN_NAME override the names that are chosen here.
    """

    _auto_end_run: bool  # set by MLflowCallback: True if it began the tracked run
    store: ClassVar[str | None] = None  # the tracking URI that this class set last
    _ended: str | None = None  # id of the tracked run, once training has ended

    def setup(self, args: TrainingArguments, state: TrainerState, model: Any) -> None:
        if state.is_world_process_zero:
            self._choose_store(args)
        named = copy(args)
        named.run_name = os.environ.get("MLFLOW_RUN_NAME") or tracked_name(args)
        super().setup(named, state, model)

    def _choose_store(self, args: TrainingArguments) -> None:
        import mlflow

        if mlflow.is_tracking_uri_set() and mlflow.get_tracking_uri() != RunMlflow.store:
            return
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # else it reports each table it makes
        folder = _folder_of_run(args)
        RunMlflow.store = f"sqlite:///{folder / STORE}"
        mlflow.set_tracking_uri(RunMlflow.store)
        if "MLFLOW_EXPERIMENT_NAME" not in os.environ:
            if mlflow.get_experiment_by_name(PROJECT) is None:
                mlflow.create_experiment(PROJECT, artifact_location=(folder / "mlartifacts").as_uri())
            mlflow.set_experiment(PROJECT)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        import mlflow

        active = mlflow.active_run() if state.is_world_process_zero and self._auto_end_run else None
        super().on_train_end(args, state, control, **kwargs)
        self._ended = active.info.run_id if active else None
        self._auto_end_run = False  # else `__del__` would end the run of a later stage

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float],
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        import mlflow

        # a validation after training belongs to the same tracked run; mlflow itself would begin another one
        run = mlflow.start_run(run_id=self._ended) if self._ended and not mlflow.active_run() else nullcontext()
        with run:
            super().on_log(args, state, control, logs, model, **kwargs)
