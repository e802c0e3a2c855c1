"""Tasks that a student can be distilled on, found by name; other packages add their own as entry points."""

from bistil_ds.tasks.registry import find_task, task_names
from bistil_ds.tasks.task import ReadOptions, Task

__all__ = ["ReadOptions", "Task", "find_task", "task_names"]
