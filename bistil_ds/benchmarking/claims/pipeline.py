"""The steps from a multilingual teacher to an evaluated model of a cell, each as a user's command."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bistil_ds.benchmarking.claims.runner import Runner
from bistil_ds.benchmarking.claims.settings import SOURCE, Cell, Flags, Settings, System
from bistil_ds.models.inputs import load_config
from bistil_ds.models.loading import is_masked_lm
from bistil_ds.models.weight_files import hash_weights

BASE, HEAD = "teacher", "teacher-head"  # steps: the trimmed teacher, and the same with a masked-LM head


@dataclass(frozen=True)
class Made:
    """The evaluated model of a cell.

    Attributes:
        evaluation: the folder with its `evaluation.json`.
        teacher: the hash of the teacher's weights, trimmed to the settings' languages.
        general, task: the names of the steps that made the model before it knew the task, and that taught it the task.
    """

    evaluation: Path
    teacher: str
    general: tuple[str, ...]
    task: tuple[str, ...]


def student_name(cell: Cell, system: System) -> str:
    """Return the step of phase 1, or of pretraining from scratch, that makes the cell's model."""
    parts = [SOURCE, cell.target] if system.languages == "pair" else []
    return "-".join([*parts, cell.system, str(cell.seed)])


def tuned_name(cell: Cell, languages: str) -> str:
    """Return the step that teaches the cell's model its task; a model of all languages is the same for each target."""
    return str(cell._replace(target="all") if languages == "all" else cell)


def teacher_name(task: str, seed: int) -> str:
    """Return the step that tunes the teacher on a task."""
    return f"{BASE}-{task}-{seed}"


def trimmed_name(cell: Cell) -> str:
    """Return the step that trims the tuned teacher to the cell's pair of languages."""
    return f"{SOURCE}-{cell.target}-{teacher_name(cell.task, cell.seed)}"


def timed_steps(settings: Settings) -> dict[str, str]:
    """Return system → the step whose model is timed for it: the first one in the grid that has its architecture."""
    found: dict[str, str] = {}
    for cell in settings.cells():
        system = settings.systems[cell.system]
        if system.speed is not None or system.of is not None:
            continue
        name = {"teacher": BASE, "trimmed": trimmed_name(cell)}.get(system.kind) or student_name(cell, system)
        found.setdefault(cell.system, name)
    return found


class Pipeline:
    """Makes cells; each step leaves its results in a subfolder of the runner's folder.

    Args:
        teacher: folder or hub id of the multilingual model.
        data: the folder that paths in the settings are relative to.
    """

    def __init__(self, settings: Settings, teacher: str, data: Path, runner: Runner) -> None:
        self.settings, self.teacher, self.data, self.runner = settings, teacher, data, runner
        self._hashes: dict[Path, str] = {}

    def make(self, cell: Cell) -> Made:
        """Run the cell's steps that have not finished, and return its evaluation.

        Raises:
            OutOfTimeError, StepError, InputError: as for `Runner.run`.
        """
        system = self.settings.systems[cell.system]
        general: tuple[str, ...] = ()
        if system.kind in ("teacher", "trimmed"):
            tuned = self.tuned_teacher(cell.task, cell.seed)
            model, task = [self.base(), tuned], (tuned.name,)
            if system.kind == "trimmed":
                model = [self.trimmed(cell, tuned)]
        elif system.kind == "scratch":
            base = self.scratch(cell, system)
            flags = {"model": base, **_dense(self._task(cell, "student")), **system.phase_2}
            tuned = self.runner.run("teacher", str(cell), flags)
            model, general, task = [base, tuned], (base.name,), (tuned.name,)
        else:
            base, general = self.student(cell, system)
            teacher = self.tuned_teacher(cell.task, cell.seed)
            flags = {"student": base, "teacher_model": self.base(), "teacher_sft": teacher}
            tuning = self._task(cell, "student")
            flags |= {**(_dense(tuning) if system.phase_2.get("dense") == "true" else tuning), **system.phase_2}
            languages = (self.settings.systems[system.of] if system.of else system).languages
            tuned = self.runner.run("task", tuned_name(cell, languages), flags)
            model, task = [base, tuned], (tuned.name,)
        return Made(self._evaluate(cell, "+".join(map(str, model))), self.base_hash(), general, task)

    def base(self) -> Path:
        """Return the teacher, trimmed to the tokens of the settings' languages."""
        texts = self._texts(self.settings.languages)
        return self.runner.run("trim", BASE, {"model": self.teacher, "text": texts, **self._limit()})

    def base_hash(self) -> str:
        """Return the hash of the trimmed teacher's weights."""
        base = self.base()
        if base not in self._hashes:
            self._hashes[base] = hash_weights(base)
        return self._hashes[base]

    def with_head(self) -> Path:
        """Return the teacher with a masked-LM head, trained on the texts of all languages while the encoder is frozen.

        If the teacher has such a head already, that is the teacher itself.
        """
        if is_masked_lm(load_config("--teacher", self.base())):
            return self.base()
        folder = self._text_folder("all", self.settings.languages)
        flags = {"encoder": self.base(), "input_folder": folder, **self.settings.head, **self._limit()}
        return self.runner.run("pretrain", HEAD, flags)

    def student(self, cell: Cell, system: System) -> tuple[Path, tuple[str, ...]]:
        """Return a student and the steps that made it; of a student without phase 1, there are none."""
        if system.of is not None:
            trained, steps_before = self.student(cell._replace(system=system.of), self.settings.systems[system.of])
            return (trained / "build" / "student", ()) if system.kind == "untrained" else (trained, steps_before)
        pair = [SOURCE, cell.target]
        languages = pair if system.languages == "pair" else list(self.settings.languages)
        steps = self.settings.phase_1["max_steps"]
        if system.budget == "language":
            steps = -(-steps * len(languages) // len(pair))
        teacher = self.with_head() if system.head else self.base()
        flags = {"teacher_model": teacher, "text": self._texts(languages), **self._limit(), "seed": cell.seed}
        flags |= {**self.settings.phase_1, "max_steps": steps, **system.phase_1}
        folder = self.runner.run("general", student_name(cell, system), flags)
        return folder, (folder.name, *([HEAD] if teacher.name == HEAD else []))

    def scratch(self, cell: Cell, system: System) -> Path:
        """Pretrain a masked language model from random weights, with a student's sizes, on that student's texts."""
        student, _ = self.student(cell._replace(system=str(system.of)), self.settings.systems[str(system.of)])
        texts = self._text_folder(cell.target, [SOURCE, cell.target])
        flags = {"input_folder": texts, "tokenizer": student, "config": student, "seed": cell.seed}
        flags |= {**self.settings.scratch, **self._limit()}
        return self.runner.run("pretrain", student_name(cell, system), flags)

    def tuned_teacher(self, task: str, seed: int) -> Path:
        """Return the sparse fine-tuning of the teacher for a task."""
        flags = self._task(Cell(task, SOURCE, "teacher", seed), "teacher")
        return self.runner.run("teacher", teacher_name(task, seed), {"model": self.base(), **flags})

    def trimmed(self, cell: Cell, tuned: Path) -> Path:
        """Return the tuned teacher, merged into one folder and trimmed to the tokens of a pair."""
        whole = self.runner.run("export", f"{tuned.name}-whole", {"model": self.base(), "sft": tuned})
        texts = self._texts([SOURCE, cell.target])
        flags = {"model": whole, "text": texts, **self._limit()}
        return self.runner.run("trim", trimmed_name(cell), flags)

    def _evaluate(self, cell: Cell, model: str) -> Path:
        settings = self.settings.tasks[cell.task]
        tests = [f"{code}={self.data / settings.test[code]}" for code in (SOURCE, cell.target)]
        flags: dict[str, Any] = {"model": f"{cell.system}={model}", "test_file": tests, "task": cell.task}
        flags |= {"label_map": list(settings.label_map)} if settings.label_map else {}
        flags |= {"resamples": self.settings.resamples, "keep_resamples": "true"}
        return self.runner.run("evaluate", f"{cell}-evaluation", flags)

    def _task(self, cell: Cell, role: str) -> Flags:
        settings = self.settings.tasks[cell.task]
        files = {
            "train_file": [f"{SOURCE}={self.data / file}" for file in settings.train],
            "dev_file": f"{SOURCE}={self.data / settings.dev}",
        }
        return {"task": cell.task, **files, "seed": cell.seed, **getattr(settings, role)}

    def _text(self, language: str) -> Path:
        return self.data / self.settings.text.format(language=language)

    def _texts(self, languages: Sequence[str]) -> list[str]:
        return [f"{language}={self._text(language)}" for language in languages]

    def _text_folder(self, name: str, languages: Sequence[str]) -> Path:
        """Return a folder with a link to each language's text, called after its language, as `pretrain.py` reads."""
        folder = self.runner.folder / "texts" / name
        folder.mkdir(parents=True, exist_ok=True)
        for language in languages:
            text = self._text(language).resolve()
            link = folder / f"{language}{text.suffix}"
            if not link.is_symlink():
                with suppress(FileExistsError):  # another process has just made it
                    link.symlink_to(text)
        return folder

    def _limit(self) -> Flags:
        return {} if self.settings.max_texts is None else {"max_texts": self.settings.max_texts}


def _dense(flags: Flags) -> Flags:
    """Return the flags of a dense fine-tuning that has as many steps as both stages of the sparse one with `flags`."""
    steps = flags.get("full_max_steps", 0) + flags.get("sparse_max_steps", 0)
    of_both = {name: value for name, value in flags.items() if not name.startswith("full_")}
    return {**of_both, "dense": "true", **({"sparse_max_steps": steps} if steps else {})}
