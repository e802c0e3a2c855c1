"""Tasks on which a student can be distilled, each with a name; other packages add theirs as entry points."""

from bistil_ds.tasks.registry import find_task, task_names
from bistil_ds.tasks.task import ReadOptions, Task

__all__ = ["ReadOptions", "Task", "find_task", "task_names"]
