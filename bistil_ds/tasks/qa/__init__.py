"""Extractive question answering: the task, its windows and its metrics."""
