"""Measure a model: parameters, size of its folder, load time, and memory at inference and in training.

Inference and a training step each run in a process of their own. Resident memory is counted without the libraries.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import PreTrainedModel
from transformers.utils import logging

from bistil_ds.benchmarking.harness.benchmark import Tell
from bistil_ds.benchmarking.harness.own_process import RemoteError, blame_flag, run_in_own_process
from bistil_ds.benchmarking.harness.peak_memory import Peak, peak_in_own_process
from bistil_ds.benchmarking.models.engines import torch_runner
from bistil_ds.benchmarking.models.shapes import label_of, load_encoder, reference_of
from bistil_ds.benchmarking.models.subject import parameter_counts, random_inputs

STAGES = ("inference", "training")
# bytes that a stage holds, as a multiple of the weights' bytes; in training also gradients and two moments count
COPIES = {"inference": 1, "training": 4}


@dataclass(frozen=True)
class Input:
    """Input and setting of a measurement: sequences in a batch, tokens in each, dtype of the weights, device.

    A GPU is given with its index, such as `cuda:0`.
    """

    batch: int
    length: int
    dtype: str
    device: str


def measure(models: Sequence[str], given: Input, content: dict[str, Any], tell: Tell, save: Callable[[], None]) -> None:
    """Measure each model, add its row to a record's content, and save the record after each row."""
    for number, name in enumerate(models):

        def part(done: int, what: str, number: int = number, name: str = name) -> None:
            tell((number + done / 3) / len(models), f"{label_of(name)}: {what}")

        row = model_row(name, given, part)
        content["rows"].append({"model": label_of(name), "reference": label_of(reference_of(name, models)), **row})
        save()


def model_row(name: str, given: Input, tell: Callable[[int, str], object]) -> dict[str, Any]:
    """Measure one model and return its row; a stage that could not be measured has `unavailable` with the reason.

    Raises:
        InputError: the model cannot be loaded.
    """
    with tempfile.TemporaryDirectory() as work:
        tell(0, "saving")
        with blame_flag(f"--model {name}"):
            row: dict[str, Any] = run_in_own_process(_save, name, work, given.dtype)
        folder = name if Path(name).is_dir() else work
        row |= {"folder_bytes": folder_bytes(Path(folder)), "load_seconds": []}
        for done, stage in enumerate(STAGES, 1):
            tell(done, stage)
            needed = bytes_needed(stage, row["parameters"], given.dtype)
            if given.device == "cpu" and psutil.virtual_memory().available < 1.2 * needed:
                row[stage] = {"unavailable": f"needs more than {needed / 1e9:.1f} GB, which are not free"}
                continue
            try:
                peak = peak_in_own_process(BUILDERS[stage], folder, given, device=given.device)
            except RemoteError as error:
                row[stage] = {"unavailable": str(error)}
                continue
            row["load_seconds"].append(peak.build_seconds)
            row[stage] = stage_bytes(peak)
    return row


def bytes_needed(stage: str, parameters: int, dtype: str) -> int:
    """Return the bytes that a stage needs for a model with `parameters` parameters, without activations."""
    itemsize: int = getattr(torch, dtype).itemsize
    return COPIES[stage] * itemsize * parameters


def stage_bytes(peak: Peak) -> dict[str, int | None]:
    """Return the bytes of a stage: `loaded` before its steps, `peak` during them, `reserved` by the GPU's allocator.

    `loaded` and `peak` leave out the libraries. `reserved` is None on a CPU.
    """
    return {"loaded": peak.baseline - peak.empty, "peak": peak.own, "reserved": peak.reserved}


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files that lie directly in a model folder."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _save(name: str, folder: str, dtype: str) -> dict[str, int]:
    """Return the numbers of parameters, and write the encoder to `folder` unless `name` is a folder already."""
    _quiet()
    model = load_encoder(name, getattr(torch, dtype))
    if not Path(name).is_dir():
        model.save_pretrained(folder)
    return parameter_counts(model)


def _inference(folder: str, given: Input) -> Callable[[], object]:
    device = _ready(given)
    model = _touch_weights(load_encoder(folder, getattr(torch, given.dtype)).to(device))
    run = torch_runner(model, torch.get_num_threads())
    inputs = random_inputs(model.config.vocab_size, given.batch, given.length, device)
    return lambda: run(inputs)


def _training(folder: str, given: Input) -> Callable[[], object]:
    """Return a step of forward, backward and AdamW; its loss is the mean square of the last hidden state."""
    device = _ready(given)
    model = _touch_weights(load_encoder(folder, getattr(torch, given.dtype)).to(device)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    inputs = random_inputs(model.config.vocab_size, given.batch, given.length, device)

    def step() -> None:
        model(**inputs).last_hidden_state.float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _touch_weights(model: PreTrainedModel) -> PreTrainedModel:
    """Read every weight once. Weight files are memory-mapped, so weights are resident only after they are read."""
    for tensor in model.state_dict().values():
        tensor.sum()
    return model


BUILDERS = {"inference": _inference, "training": _training}


def _ready(given: Input) -> torch.device:
    """Return the device; if it is a GPU, also make it the current one."""
    _quiet()
    device = torch.device(given.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def _quiet() -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
