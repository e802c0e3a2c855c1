"""Defaults of the commands when they train on the embedded sample."""

from __future__ import annotations

SAMPLE_LANGUAGES = ("en", "tr")  # source and target
SAMPLE_STEPS, SAMPLE_LENGTH, SAMPLE_LEARNING_RATE = 600, 64, 1e-3  # phase 1; the length is in tokens
SAMPLE_TASK = "ner"
SAMPLE_TRAINING = {"learning_rate": 1e-3, "full_epochs": 2, "sparse_epochs": 5}  # teacher tuning and phase 2
