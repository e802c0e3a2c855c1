"""`make demo`: the pipeline on the embedded sample, from nothing to a table and a picture."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging

from bistil_ds.benchmarking.timing import Way, interleaved
from bistil_ds.general import SAMPLE_LANGUAGES
from bistil_ds.masked_accuracy import masked_accuracy
from bistil_ds.sample import held_out_sentences
from bistil_ds.student_folder import model_bytes

STAGES = {"MMT, trimmed": "build/teacher", "student, before": "build/student", "student": "."}


def main() -> int:
    """Run phase 1 under DeepSpeed, then print the table and write `demo.png` in the run's folder."""
    folder = Path("runs") / f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
    script = Path(__file__).parents[1] / "launch_scripts" / "general.py"
    command = ["deepspeed", str(script), "--deepspeed", "zero2", "--output_dir", str(folder)]
    done = subprocess.run(command, check=False)
    if done.returncode:
        return done.returncode
    logging.disable_progress_bar()
    rows = measure(folder)
    Console().print(as_table(rows))
    picture = draw(folder, rows)
    print(f"picture: {picture}    student: {folder}    log: tensorboard --logdir {folder}")
    return 0


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """Each model's parameters, megabytes, forward time of 8 sentences (s) and masked-token accuracy by language."""
    models = {name: AutoModelForMaskedLM.from_pretrained(folder / part).eval() for name, part in STAGES.items()}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = held_out_sentences()
    rows: dict[str, dict[str, float]] = {}
    for name, model in models.items():
        rows[name] = {"parameters": model.num_parameters(), "MB": model_bytes(folder / STAGES[name]) / 1e6}
        for language in SAMPLE_LANGUAGES:
            rows[name][language] = masked_accuracy(model, tokenizer, texts[language])["accuracy"]
    lines = texts[SAMPLE_LANGUAGES[1]][:8]
    for name, seconds in forward_seconds(models, tokenizer(lines, padding=True, return_tensors="pt")).items():
        rows[name]["sentences/s"] = len(lines) / seconds
    return rows


def forward_seconds(models: dict[str, PreTrainedModel], batch: dict[str, Any], rounds: int = 30) -> dict[str, float]:
    """Median wall time of one encoder forward of each model, in seconds; the models take turns."""
    with torch.inference_mode():
        ways = {name: Way(partial(model.base_model, **batch)) for name, model in models.items()}
        times = interleaved(ways, rounds, torch.device("cpu"))
    return {name: statistics.median(each) for name, each in times.items()}


def as_table(rows: dict[str, dict[str, float]]) -> Table:
    """The models side by side."""
    table = Table(title="the embedded sample: English and Turkish", title_justify="left")
    table.add_column("model")
    columns = {"parameters": "{:,.0f}", "MB": "{:.1f}", "sentences/s": "{:.0f}"}
    columns |= dict.fromkeys(SAMPLE_LANGUAGES, "{:.1%}")
    for name in columns:
        table.add_column(f"masked tokens {name}" if name in SAMPLE_LANGUAGES else name, justify="right")
    for model, row in rows.items():
        table.add_row(model, *(form.format(row[name]) for name, form in columns.items()))
    return table


def draw(folder: Path, rows: dict[str, dict[str, float]]) -> Path:
    """Validation loss by step, cosine to the teacher by layer, and the student relative to the teacher."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    history = validation_history(folder)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for language in SAMPLE_LANGUAGES:
        key = f"eval_{language}_loss"
        left.plot([r["step"] for r in history], [r[key] for r in history], marker=".", label=language)
        states = sorted(k for k in history[-1] if k.startswith(f"eval_{language}_cosine_"))
        middle.plot([history[0][k] for k in states], linestyle=":", label=f"{language}, before")
        middle.plot([history[-1][k] for k in states], marker=".", label=f"{language}, after")
    left.set(title="validation loss", xlabel="step", yscale="log")
    middle.set(title="cosine to the teacher's state", xlabel="student state (0: embeddings)")
    middle.xaxis.get_major_locator().set_params(integer=True)
    _relative_bars(right, rows["MMT, trimmed"], rows["student"])
    left.legend()
    middle.legend()
    path = folder / "demo.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def _relative_bars(axis: Any, teacher: dict[str, float], student: dict[str, float]) -> None:
    names = ["parameters", "sentences/s", *SAMPLE_LANGUAGES]
    values = [student[name] / teacher[name] for name in names]
    labels = [f"accuracy {name}" if name in SAMPLE_LANGUAGES else name for name in names]
    axis.bar_label(axis.bar(labels, values), fmt="%.2f")
    axis.axhline(1, color="grey", linewidth=0.8)
    axis.set(title="student relative to the teacher")
    axis.tick_params(axis="x", rotation=20)


def validation_history(folder: Path) -> list[dict[str, float]]:
    """Every validation of the run, from its newest checkpoint."""
    newest = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    state = json.loads((newest / "trainer_state.json").read_text())
    return [row for row in state["log_history"] if "eval_loss" in row]


if __name__ == "__main__":
    sys.exit(main())
