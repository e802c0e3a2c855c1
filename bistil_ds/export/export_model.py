"""Merge a model and its sparse fine-tunings into one folder, which transformers can load without this package."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bistil_ds.console.terminal import say
from bistil_ds.export.card_facts import Stated
from bistil_ds.export.card_scores import read_scores
from bistil_ds.export.engines.check import EngineError
from bistil_ds.export.engines.data import read_engine_data
from bistil_ds.export.engines.request import MAX_LOSS, EngineRequest
from bistil_ds.export.folder import task_to_export, write_export
from bistil_ds.export.push import check_push, push_folder
from bistil_ds.models.licences import check_licence
from bistil_ds.models.weight_files import hash_weights
from bistil_ds.runs.folder import new_folder, run_folder
from bistil_ds.tasks import Task
from bistil_ds.tasks.candidates import Candidate, ModelCache, ModelChoice, examine
from bistil_ds.tasks.models import load_task_model
from bistil_ds.training.product import check_product


def export_model(
    model: str | Path,
    sfts: Sequence[str | Path] = (),
    *,
    output_dir: str | Path | None = None,
    task: str | Task | None = None,
    onnx: bool = False,
    openvino: bool = False,
    int8: bool = False,
    calibration_files: Sequence[str | Path] = (),
    dev_files: Mapping[str, str | Path] | None = None,
    max_loss: float = MAX_LOSS,
    licence: str | None = None,
    scores: str | Path | None = None,
    samples: Mapping[str, Sequence[str]] | None = None,
    push_to_hub: str | None = None,
    private: bool = False,
) -> Path:
    """Merge sparse fine-tunings into a model and write one plain Hugging Face folder, as `export.py` does.

    Example:
        >>> from bistil_ds import export_model
        >>> export_model("runs/en-tr", licence="CC BY 4.0")
        Traceback (most recent call last):
        bistil_ds.errors.InputError: --licence CC BY 4.0: expected ...

    Args:
        model: folder or hub id of a model.
        sfts: fine-tunings to merge, in order; the last brings the task head.
        output_dir: the folder to write; it must be new or empty. Default: `runs/export-<time>`.
        task: the task or its name; needed if no fine-tuning records its task. For a model that does not say how it
            makes vectors, `find_task("embed").configured(pooling=["mean"])`.
        onnx: write `model.onnx` too, for ONNX Runtime. Its outputs are compared with PyTorch's.
        openvino: write `openvino_model.xml` and `.bin` too, for OpenVINO, compared in the same way.
        int8: with `onnx`, write `model_int8.onnx` too; with `openvino`, write `openvino_model_int8.xml` too.
        calibration_files: files or hub data sets with texts from which the ranges of activations in int8 models are
            measured. OpenVINO needs them; without them, ONNX Runtime measures the ranges in each call.
        dev_files: language → labelled file or hub data set. Each engine's file is scored on it, and so is the model in
            PyTorch.
        max_loss: a file that loses more points (hundredths) of the task's metric than this, in any language of
            `dev_files`, is left out. `float("inf")` keeps every file.
        licence: licence for the model card, by its name on the hub, such as `mit`.
        scores: an `evaluation.json` with scores of exactly the exported weights, for the card.
        samples: language → sentences; the card says what share of their tokens is unknown to the model.
        push_to_hub: a repository of the hub, `org/name` or `org/name@branch`. The folder, without `run.json`, becomes
            the content of that branch (`main`) once it is written and checked. The token is the one of `hf auth login`
            or `HF_TOKEN`.
        private: make the repository private if it is new.

    Returns:
        The folder: weights, tokenizer, `README.md` (the model card), `run.json`. For task `embed`, it is one of
        sentence-transformers.

    Raises:
        InputError: an argument, a file or a model cannot be used; raised before anything is written.
        ProductError: the folder that was written does not load.
        EngineError: an engine's file computes something else than the model, or loses more than `max_loss`; the folder
            holds everything but the files that the message names.
        PushError: the folder is written and checked, but the hub cannot be reached or refuses it.
    """
    named, out = [str(sft) for sft in sfts], str(output_dir) if output_dir is not None else None
    texts, labelled = [str(file) for file in calibration_files], {k: str(v) for k, v in (dev_files or {}).items()}
    request = EngineRequest(onnx, openvino, int8, texts, labelled, max_loss)
    flags: dict[str, Any] = {"model": str(model), "sft": named or None, "licence": licence}
    flags |= {"output_dir": out, "scores": str(scores) if scores else None, **vars(request)}
    flags["max_loss"] = max_loss if math.isfinite(max_loss) else str(max_loss)  # JSON has no infinity
    flags |= {"samples": sorted(samples) if samples else None, "push_to_hub": push_to_hub}
    folder = run_folder(out, "export", None, resumable=False)
    check_flags(licence, request)
    check_push(push_to_hub, private)
    models = ModelCache(task_to_export(task, named))
    flags["task"] = models.task.name
    candidate = examine(ModelChoice(str(model), str(model), tuple(named)), models, None)
    loaded = models.get(candidate.choice)
    data = read_engine_data(request, loaded, candidate.max_length)
    found = read_scores(str(scores), candidate.weights_sha256) if scores else None
    with new_folder(folder, explicit=out is not None) as folder:
        title = push_to_hub.partition("@")[0] if push_to_hub else folder.resolve().name
        stated = Stated(title, licence, found, samples or {})
        report = write_export(folder, loaded, candidate, stated, engines=data, arguments=flags)
    if report and report.refused:
        raise EngineError(f"{report.refused}; {folder} holds everything else")
    check_product(folder, lambda written: _check(written, models.task, candidate))
    if push_to_hub:
        say(f"pushed to {push_folder(folder, push_to_hub, private)}")
    return folder


def _check(folder: Path, task: Task, candidate: Candidate) -> None:
    """Load a folder that was written; raise ValueError if its weights are not the merged ones."""
    loaded = load_task_model(str(folder), (), task, candidate.labels)
    if hash_weights(loaded.model) != candidate.weights_sha256:
        raise ValueError("its weights are not the merged ones")


def check_flags(licence: str | None, request: EngineRequest) -> None:
    """Raise InputError for a licence that is no short name, or a request for engines that cannot be met."""
    check_licence("--licence", licence)
    request.check()
