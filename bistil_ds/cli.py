"""What every command shares: flags or a YAML file of the same names, short help, one-line errors, the run folder."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser, TrainingArguments

from bistil_ds.engine import rank
from bistil_ds.errors import InputError

COMMON = (  # of the hundred TrainingArguments, those --help shows
    "output_dir max_steps per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps "
    "learning_rate lr_scheduler_type warmup_steps weight_decay max_grad_norm deepspeed bf16 fp16 "
    "gradient_checkpointing torch_compile seed logging_steps eval_steps save_steps save_total_limit "
    "resume_from_checkpoint report_to dataloader_num_workers teacher_dtype compile_teacher"
).split()


class _Parser(HfArgumentParser):
    def error(self, message: str) -> Any:
        raise InputError(f"{message} (see --help)")


def parse(argv: Sequence[str], types: Sequence[type], description: str) -> argparse.Namespace:
    """All fields of the dataclasses in `types` as one namespace; nothing is constructed, so nothing starts.

    `argv` may begin with a YAML file, whose values flags override. `--help` lists the fields of our own dataclasses and
    the usual ones of `TrainingArguments`; `--help_all` the rest.
    """
    argv = list(argv)
    parser = _Parser(types, description=description, add_help=False, allow_abbrev=False)  # type: ignore[arg-type]
    parser.usage = "%(prog)s [recipe.yaml] [--flag value ...]"
    parser.add_argument("-h", "--help", action="help", help="show the usual flags and exit")
    parser.add_argument("--help_all", action="store_true", help="show every flag and exit")
    if "local_rank" not in TrainingArguments.__dataclass_fields__:  # launchers give it
        parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)
    if "--help_all" in argv:
        parser.print_help()
        raise SystemExit(0)
    _hide_rare(parser, types)
    if argv and not argv[0].startswith("-"):
        argv = [*_yaml_flags(Path(argv[0]), parser), *argv[1:]]
    return parser.parse_args(argv)


def _hide_rare(parser: argparse.ArgumentParser, types: Sequence[type]) -> None:
    rare = set(TrainingArguments.__dataclass_fields__) - set(COMMON)
    own = {name for kind in types if not issubclass(kind, TrainingArguments) for name in kind.__dataclass_fields__}  # type: ignore[attr-defined]
    for action in parser._actions:
        if action.dest in rare - own or any(flag.startswith("--no_") for flag in action.option_strings):
            action.help = argparse.SUPPRESS
        action.metavar = None if action.choices else (action.dest.upper() if action.nargs != 0 else None)


def _yaml_flags(path: Path, parser: argparse.ArgumentParser) -> list[str]:
    """The YAML file as flags; an unknown name or a file that is no mapping is an InputError."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected `name: value` lines, found a {type(values).__name__}")
    known = {action.dest for action in parser._actions}
    flags: list[str] = []
    for name, value in values.items():
        if name not in known:
            raise InputError(f"{path}: no flag is called {name!r} (see --help)")
        if isinstance(value, list):
            flags += [f"--{name}", *map(str, value)]
        elif value is not None:
            flags.append(f"--{name}={value}")
    return flags


def run(main: Callable[[], None]) -> int:
    """Call `main`; bad input becomes one line on rank 0 and exit code 2, Ctrl-C exit code 130."""
    try:
        main()
    except InputError as error:
        if rank() == 0:
            print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def run_folder(output_dir: str | None, script: str, resume: str | None) -> Path:
    """Where a run goes; an explicit folder that holds something is refused unless its run is being resumed."""
    if output_dir is None:
        if resume:
            raise InputError("--resume_from_checkpoint needs --output_dir, the folder of the run to resume")
        return Path("runs") / f"{script}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = Path(output_dir).expanduser()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output_dir {folder}: is a file; give a folder")
    holds_something = folder.is_dir() and any(folder.iterdir())
    if resume and not (folder / "run.json").is_file():
        raise InputError(f"--output_dir {folder}: holds no run to resume (no run.json)")
    if holds_something and not resume:
        hint = "add --resume_from_checkpoint true or " if (folder / "run.json").is_file() else ""
        raise InputError(f"--output_dir {folder}: is not empty; {hint}choose another folder")
    return folder


@contextlib.contextmanager
def quiet_deepspeed() -> Iterator[None]:
    """DeepSpeed's information messages off for the duration: the progress bar says what happens."""
    import logging

    logger = logging.getLogger("DeepSpeed")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
