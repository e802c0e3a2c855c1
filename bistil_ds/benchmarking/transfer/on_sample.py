"""Lay out the package's sample data as the transfer benchmark expects them, and define its settings for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bistil_ds.sample import sample_corpora, sample_task_file

TRAINING = {
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 16,
    "full_max_steps": 100,
    "sparse_max_steps": 200,
    "eval_strategy": "steps",
    "eval_steps": 100,
    "save_strategy": "steps",
    "save_steps": 100,
}
SAMPLE_SETTINGS: dict[str, Any] = {
    "phase_1": {"max_steps": 200, "eval_steps": 200, "max_length": 64, "learning_rate": 1e-3},
    "scratch": {"steps": 200, "batch_size": 8, "length": 64},
    "tasks": {
        "ner": {
            "train": "en=en-train.iob2",
            "dev": "en=en-dev.iob2",
            "test": {"en": "en-test.iob2", "tr": "tr-test.iob2", "sw": "sw-test.iob2"},
            "teacher": TRAINING,
            "student": TRAINING,
        }
    },
}


def link_sample(folder: Path) -> Path:
    """Link the sample's corpora and task files into `folder`, under the names that commands use; return `folder`."""
    links = {folder / "text" / f"{language}.txt": path for language, path in sample_corpora().items()}
    for language, split in (("en", "train"), ("en", "dev"), ("en", "test"), ("tr", "test"), ("sw", "test")):
        path = sample_task_file("ner", language, split)
        links[folder / path.name] = path
    for link, path in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.resolve() != path.resolve():  # there is no link yet, or it points to another version's sample
            link.unlink(missing_ok=True)
            link.symlink_to(path.resolve())
    return folder
