"""The runs that are killed: phase 1, teacher tuning and phase 2, on one rank and two, at each ZeRO stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tiny

from faults.life import live

CONSTANT = ("--lr_scheduler_type", "constant")
LINEAR = ("--lr_scheduler_type", "linear", "--warmup_steps", 2)
COSINE = ("--lr_scheduler_type", "cosine")
TEACHER = "teacher"  # a tuned teacher in the material, made by `write_material`
SCHEDULES = {"constant": CONSTANT, "linear": LINEAR, "cosine": COSINE}


@dataclass(frozen=True)
class Run:
    """A command with its flags.

    Args:
        command: a key of `life.COMMANDS`.
        ranks: how many.
        zero: ZeRO stage; None without DeepSpeed.
        schedule: a key of `SCHEDULES`.
        more: further flags.
    """

    command: str
    ranks: int
    zero: int | None
    schedule: str
    more: tuple[object, ...] = ()

    @property
    def name(self) -> str:
        zero = "plain" if self.zero is None else f"zero{self.zero}"
        kind = "-dense" if "--dense" in self.more else ""
        return f"{self.command}{kind}-{self.ranks}-{zero}-{self.schedule}"

    def words(self, material: Path, out: Path) -> list[object]:
        """Return the flags of the command that starts the run in `out`, and that lets it go on there."""
        words: list[object] = ["--output_dir", out, "--resume_from_checkpoint", "true", "--disable_tqdm", "true"]
        words += ["--per_device_train_batch_size", 4 // self.ranks, "--save_steps", 2, "--eval_steps", 2]
        words += ["--logging_steps", 3, *SCHEDULES[self.schedule], *self.more]
        words += ["--deepspeed", f"zero{self.zero}"] if self.zero is not None else []
        return words + (self._phase_1(material) if self.command == "general" else self._tuning(material))

    def _phase_1(self, material: Path) -> list[object]:
        words: list[object] = ["--teacher_model", material / "mmt", "--source_language", "aa", "--target_language"]
        words += ["bb", "--source_file", material / "aa.txt", "--target_file", material / "bb.txt"]
        return [*words, "--max_length", 32, "--max_steps", 9, "--mlm_weight", 0.1, "--gradient_accumulation_steps", 2]

    def _tuning(self, material: Path) -> list[object]:
        words: list[object] = ["--task", "ner", "--train_file", f"aa={material / 'train.txt'}", "--max_length", 64]
        words += ["--dev_file", f"aa={material / 'dev.txt'}", "--learning_rate", 1e-3, "--sparse_max_steps", 7]
        words += ["--eval_strategy", "steps", "--save_strategy", "steps"]
        words += [] if "--dense" in self.more else ["--full_max_steps", 5]
        if self.command == "teacher":
            return [*words, "--model", material / "mmt"]
        teacher: list[object] = ["--teacher_model", material / "mmt", "--teacher_sft", material / TEACHER]
        return [*words, "--student", material / "student", *teacher]


RUNS = (
    Run("general", 1, None, "constant"),
    Run("task", 1, None, "linear"),
    Run("general", 2, 2, "cosine"),
    Run("teacher", 2, 1, "constant"),
    Run("task", 2, 3, "cosine"),
    Run("general", 1, 0, "linear", ("--save_total_limit", 2)),
    Run("teacher", 1, None, "cosine", ("--dense",)),
    Run("general", 2, 3, "constant"),
    Run("task", 2, 2, "constant", ("--save_total_limit", 1)),
    Run("teacher", 1, 3, "linear"),
    Run("general", 2, None, "linear"),
    Run("task", 1, 0, "constant"),
    Run("general", 1, 1, "cosine", ("--hidden_reduction_factor", 2)),
    Run("teacher", 2, None, "linear"),
    Run("task", 2, 1, "linear", ("--dense",)),
)


def write_material(folder: Path) -> None:
    """Write what the runs read: texts, a teacher, a student of two layers, tagged sentences, and a tuned teacher."""
    write_texts_and_teacher(folder)
    tiny.write_teacher(folder / "student", layers=2, seed=3)
    tiny.write_entities(folder / "train.txt", 40, 1)
    tiny.write_entities(folder / "dev.txt", 10, 2)
    made = Run("teacher", 1, None, "constant")
    ended = live("teacher", made.words(folder, folder / TEACHER), 1, folder / TEACHER, folder / "cache", None)
    if ended.codes != [0]:
        raise RuntimeError(f"the teacher was not tuned:\n{ended.said[-3000:]}")


def write_texts_and_teacher(folder: Path) -> None:
    """Write what phase 1 reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny.write_texts(folder, 150)
    tiny.write_teacher(folder / "mmt")
