"""Find tasks by name: our own, and those that installed packages add in the entry-point group `bistil_ds.tasks`."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from bistil_ds.errors import InputError
from bistil_ds.tasks.task import Task

GROUP = "bistil_ds.tasks"
OURS = {
    "dp": "bistil_ds.tasks.parsing.dp:DependencyParsing",
    "pos": "bistil_ds.tasks.tagging.pos:PartOfSpeech",
    "ner": "bistil_ds.tasks.tagging.ner:NamedEntities",
    "nli": "bistil_ds.tasks.nli:Inference",
    "qa": "bistil_ds.tasks.qa.qa:QuestionAnswering",
    "embed": "bistil_ds.tasks.embed.embed:SentenceEmbedding",
    "mlm": "bistil_ds.tasks.mlm:MaskedLanguageModelling",
}
NAMES = f"{', '.join(OURS)}, or a plug-in's"  # for help texts


def task_names() -> list[str]:
    """Return every name that `find_task` knows, sorted."""
    return sorted({*OURS, *(point.name for point in entry_points(group=GROUP))})


def find_task(name: str) -> Task:
    """Return a new instance of the task called `name`.

    Raises:
        InputError: there is no such task, its plug-in cannot be loaded, or the plug-in is not a `Task`.
    """
    if name in OURS:
        module, _, kind = OURS[name].partition(":")
        task: Task = getattr(import_module(module), kind)()
        return task
    for point in entry_points(group=GROUP):
        if point.name == name:
            try:
                found = point.load()()
            except Exception as error:  # a package of somebody else may raise anything
                raise InputError(f"--task {name}: its plug-in {point.value} cannot be loaded: {error}") from None
            if not isinstance(found, Task):
                raise InputError(f"--task {name}: its plug-in {point.value} is not a bistil_ds.tasks.Task")
            return found
    raise InputError(f"--task {name}: no such task; give one of {', '.join(task_names())}")
