"""Read the settings of the claims benchmark: a YAML file with the systems, the tasks and the order of the grid."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, get_origin, get_type_hints

from bistil_ds.console.yaml_file import read_yaml
from bistil_ds.errors import InputError

FLAG = "--config"
KINDS = ("teacher", "trimmed", "student", "untrained", "scratch")
LANGUAGES = ("pair", "all")
BUDGETS = ("total", "language")
SOURCE = "en"  # the language of the tasks' training data
NAME = re.compile(r"\w[\w-]*")  # can be part of a folder's name
EXPECTED = {Mapping: "names with values", Sequence: "a list", str: "a word"}  # type of a setting → words for it

Flags = Mapping[str, Any]


class Cell(NamedTuple):
    """One model of the grid: a system, for a target language, tuned on a task with a seed."""

    task: str
    target: str
    system: str
    seed: int

    def __str__(self) -> str:
        return "-".join(map(str, self))


@dataclass(frozen=True)
class System:
    """How one kind of model is made.

    Attributes:
        label: the name that tables and plots show.
        kind: `teacher`; `trimmed` (the tuned teacher, trimmed to a pair's tokens); `student`; `untrained` (the student
            `of` as it is built, without phase 1); `scratch` (a model of the sizes of the student `of`, pretrained from
            random weights and tuned densely, without a teacher).
        of: for `untrained` and `scratch`, the student in question; of a `student`, the one whose phase 1 it shares.
        phase_1, phase_2: flags of `general.py` and `task.py` beside those that all systems share.
        languages: texts of phase 1: those of the `pair`, or of `all` languages.
        budget: with `all` languages, steps in `total` are as many as for a pair, or each `language` has as many.
        head: distil from the teacher with a masked-LM head that was trained for it.
        speed: the system whose time counts for this one, which has the same architecture; default: `of`, or this one.
    """

    label: str
    kind: str = "student"
    of: str | None = None
    phase_1: Flags = field(default_factory=dict)
    phase_2: Flags = field(default_factory=dict)
    languages: str = "pair"
    budget: str = "total"
    head: bool = False
    speed: str | None = None


@dataclass(frozen=True)
class TaskSettings:
    """The data of a task, relative to the data folder, and how teacher and students are tuned on it.

    Attributes:
        train, dev: files in English, one or more for training.
        test: language → file.
        teacher, student: flags of `teacher.py` and `task.py`; a model from scratch is tuned with the student's flags.
        label_map: as the flag of `evaluate.py`.
        chance: the score of guessing. Averages leave out a language in which the teacher is not above it.
    """

    train: Sequence[str]
    dev: str
    test: Mapping[str, str]
    teacher: Flags
    student: Flags
    label_map: Sequence[str] = ()
    chance: float = 0.0


@dataclass(frozen=True)
class Roles:
    """Which systems the three claims are about; `rivals` are the multilingually distilled models of claim (b)."""

    teacher: str
    student: str
    rivals: Sequence[str]
    scratch: str


@dataclass(frozen=True)
class Settings:
    """Everything that the benchmark runs.

    Attributes:
        languages: the languages to which the teacher is trimmed before all else, and whose texts systems of `all`
            languages are distilled on; English comes first.
        text: the file of a language's text, relative to the data folder; `{language}` stands for the language.
        max_texts: how many texts of each file are read; None: all.
        phase_1: flags of `general.py` for all systems; its `max_steps` is the budget of a pair.
        head, scratch: flags of `pretrain.py`, for the teacher's masked-LM head and for models from scratch.
        resamples: bootstrap resamples of each evaluation.
        systems, tasks: by name.
        grid: blocks of cells; the first block is finished first.
        roles: which systems the claims are about.
        latency: which rows of a latency record count, such as `batch: 8`.
    """

    languages: Sequence[str]
    text: str
    phase_1: Flags
    head: Flags
    scratch: Flags
    systems: Mapping[str, System]
    tasks: Mapping[str, TaskSettings]
    grid: Sequence[Mapping[str, Any]]
    roles: Roles
    max_texts: int | None = None
    resamples: int = 500
    latency: Flags = field(default_factory=dict)

    def cells(self) -> list[Cell]:
        """Return the cells in the order in which they are made; within a block, a seed is whole before the next."""
        return list(
            dict.fromkeys(
                Cell(task, target, system, seed)
                for block in self.grid
                for seed in block["seeds"]
                for target in block["targets"]
                for task in block["tasks"]
                for system in block["systems"]
            )
        )


def read_settings(path: Path) -> Settings:
    """Return the settings in a YAML file.

    Raises:
        InputError: the file cannot be read, lacks a part, or names a system, task or language that it does not define.
    """
    place = f"{FLAG} {path}"
    content = read_yaml(path, FLAG)
    for name in ("systems", "tasks"):
        _require_mapping(content.get(name), f"{place}: {name}")
        for each, found in content[name].items():
            _require_mapping(found, f"{place}: {name}.{each}")
    systems = {name: _made(System, found, f"{place}: systems.{name}") for name, found in content["systems"].items()}
    tasks = {name: _made(TaskSettings, found, f"{place}: tasks.{name}") for name, found in content["tasks"].items()}
    roles = _made(Roles, content.get("roles"), f"{place}: roles")
    content.pop("shared", None)  # anchors that the other parts refer to
    settings: Settings = _made(Settings, {**content, "systems": systems, "tasks": tasks, "roles": roles}, place)
    _check(settings, place)
    return settings


def _require_mapping(value: object, place: str) -> None:
    if not isinstance(value, Mapping):
        raise InputError(f"{place} is {value!r}; expected names with values")


def _made(kind: type[Any], found: Any, place: str) -> Any:
    """Return the dataclass `kind`, made of a mapping; raise InputError for a name it lacks or does not know."""
    _require_mapping(found, place)
    hints = get_type_hints(kind)
    if unknown := [name for name in found if name not in hints]:
        raise InputError(f"{place}: {unknown[0]!r} is none of {', '.join(hints)}")
    needed = [each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING]
    if missing := [name for name in needed if name not in found]:
        raise InputError(f"{place}: lacks {missing[0]}")
    for name, value in found.items():
        origin = get_origin(hints[name]) or hints[name]
        text_for_list = origin is Sequence and isinstance(value, str)
        if origin in EXPECTED and (text_for_list or not isinstance(value, origin)):
            raise InputError(f"{place}.{name} is {value!r}; expected {EXPECTED[origin]}")
    return kind(**found)


def _check(settings: Settings, place: str) -> None:
    """Raise InputError for the first name in the settings that nothing defines, or that cannot be part of a path."""
    for name in (*settings.systems, *settings.tasks, *settings.languages):
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InputError(f"{place}: the name {name!r} cannot be part of a folder's name")
    if "{language}" not in settings.text:
        raise InputError(f"{place}: text is {settings.text!r}; expected a path with {{language}} in it")
    if SOURCE not in settings.languages:
        raise InputError(f"{place}: languages lacks {SOURCE}, the language of the training data")
    if type(settings.phase_1.get("max_steps")) is not int:
        raise InputError(f"{place}: phase_1 lacks max_steps, the budget of a pair of languages")
    for name, system in settings.systems.items():
        _check_system(system, settings.systems, f"{place}: systems.{name}")
    roles = settings.roles
    for name in (roles.teacher, roles.student, *roles.rivals, roles.scratch):
        _known(name, settings.systems, f"{place}: roles")
    for number, block in enumerate(settings.grid):
        where = f"{place}: grid[{number}]"
        _require_mapping(block, where)
        for part in ("targets", "tasks", "systems", "seeds"):
            if not isinstance(block.get(part), list) or not block[part]:
                raise InputError(f"{where}.{part} is {block.get(part)!r}; expected a list")
        for name in block["systems"]:
            _known(name, settings.systems, where)
        for target in block["targets"]:
            _known(target, settings.languages, where)
        for task in block["tasks"]:
            _known(task, settings.tasks, where)
            for language in (SOURCE, *block["targets"]):
                _known(language, settings.tasks[task].test, f"{where}: tasks.{task}.test")
        if wrong := [seed for seed in block["seeds"] if type(seed) is not int or seed < 0]:
            raise InputError(f"{where}.seeds: {wrong[0]!r} is no whole number from 0")


def _check_system(system: System, systems: Mapping[str, System], place: str) -> None:
    for name, value, choices in (
        ("kind", system.kind, KINDS),
        ("languages", system.languages, LANGUAGES),
        ("budget", system.budget, BUDGETS),
    ):
        if value not in choices:
            raise InputError(f"{place}.{name} is {value!r}; expected one of {', '.join(choices)}")
    if system.of is not None or system.kind in ("untrained", "scratch"):
        _known(system.of, systems, f"{place}.of")
        if systems[str(system.of)].kind != "student" or systems[str(system.of)].of is not None:
            raise InputError(f"{place}.of is {system.of}, which is no student with a phase 1 of its own")
    if system.speed is not None:
        _known(system.speed, systems, f"{place}.speed")


def _known(name: object, names: Any, place: str) -> None:
    if name not in names:
        raise InputError(f"{place}: {name!r} is none of {', '.join(map(str, names))}")
