"""Tuning a teacher, and phase 2: a student distilled on a task, both sparsely (LT-SFT) or densely."""
