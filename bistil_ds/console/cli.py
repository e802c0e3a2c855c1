"""Parse the flags or the YAML file of any command, show short help, and print errors in one line."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser, TrainingArguments
from transformers.hf_argparser import string_to_bool

from bistil_ds.console import quiet
from bistil_ds.console.help_page import Formatter, arrange
from bistil_ds.console.terminal import say
from bistil_ds.console.untrusted import one_line
from bistil_ds.console.unwritable import unwritable
from bistil_ds.console.user_path import user_path
from bistil_ds.console.yaml_file import read_yaml
from bistil_ds.errors import InputError, NonFiniteError, OtherRankError, Preempted, ProductError

RANK_0_SECONDS = 60  # other ranks wait this long before they exit, so that rank 0 can find the same error and print it
AGREED_SECONDS = 5  # the same wait for an error that all ranks raise at the same time
SHIELD = "\0"  # put before a value that argparse would take for a flag; no command line contains this character
CACHE = "BISTIL_CACHE"  # environment variable with the cache folder, for `bistil_ds.runs.cache`


class _Parser(HfArgumentParser):
    def error(self, message: str) -> Any:
        raise InputError(f"{message} (see --help)")


def parse(
    argv: Sequence[str],
    types: Sequence[type],
    description: str,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> argparse.Namespace:
    """Parse `argv` into one namespace that holds the fields of all dataclasses in `types`; make no instance of them.

    `argv` may begin with the path of a YAML file; flags override the values in that file. `--help` prints the fields of
    our own dataclasses and the usual fields of `TrainingArguments`, and exits. `--help_all` prints all fields.

    With `presets`, name → flags, one of the dataclasses has a field `preset`. The flags that the chosen name stands for
    count unless `argv` has them too.
    """
    argv = list(argv)
    parser = _Parser(types, description=description, add_help=False, allow_abbrev=False, formatter_class=Formatter)
    parser.usage = "%(prog)s [recipe.yaml] [--flag value ...]"
    parser.add_argument("-h", "--help", action="store_true", help="show the usual flags and exit")
    parser.add_argument("--help_all", action="store_true", help="show every flag and exit")
    what = "show what libraries log and warn of, too"
    parser.add_argument("--verbose", type=string_to_bool, default=False, const=True, nargs="?", help=what)
    where = "folder that keeps derived files between runs; default: $BISTIL_CACHE, or below $XDG_CACHE_HOME or ~/.cache"
    parser.add_argument("--cache_dir", help=where)
    if "local_rank" not in TrainingArguments.__dataclass_fields__:  # launchers pass this flag
        parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)
    if {"-h", "--help", "--help_all"} & set(argv):
        arrange(parser, types, everything="--help_all" in argv)
        parser.print_help()
        raise SystemExit(0)
    launcher = [word for word in argv[:1] if word.startswith("--local_rank")]  # a launcher puts this flag before ours
    argv = argv[len(launcher) :]
    if argv and not argv[0].startswith("-"):
        argv = [*_yaml_flags(Path(argv[0]), parser), *argv[1:]]
    ns = parser.parse_args([*launcher, *map(_shield, argv)])
    if presets and ns.preset is not None:
        named = [word for flag, value in presets[ns.preset].items() for word in (f"--{flag}", str(value))]
        ns = parser.parse_args([*launcher, *named, *map(_shield, argv)])
    for name, value in vars(ns).items():
        setattr(ns, name, [_bare(word) for word in value] if isinstance(value, list) else _bare(value))
    if not ns.verbose:
        quiet.hide_libraries()
    if ns.cache_dir:
        os.environ[CACHE] = str(user_path(ns.cache_dir).absolute())  # for commands that this one starts
    del ns.verbose, ns.cache_dir  # these two are not settings of the run
    return ns


def _shield(word: str) -> str:
    """Return the word, with SHIELD before it if it is a value such as `-1=neutral`, which argparse takes for a flag."""
    return SHIELD + word if re.match("-[0-9]+=", word) else word


def _bare(value: Any) -> Any:
    return value.removeprefix(SHIELD) if isinstance(value, str) else value


def _yaml_flags(path: Path, parser: argparse.ArgumentParser) -> list[str]:
    """Return the content of a YAML file as flags.

    Raises:
        InputError: the file cannot be read, is not a mapping, has a key that is no flag, or has a list or mapping
            inside another one.
    """
    known = {action.dest for action in parser._actions}
    flags: list[str] = []
    for name, value in read_yaml(path).items():
        if name not in known:
            raise InputError(f"{path}: no flag is called {name!r} (see --help)")
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if any(isinstance(part, dict | list) for part in parts):
            raise InputError(f"{path}: {name} has a list or mapping inside of another; give plain values")
        if isinstance(value, dict):
            flags += [f"--{name}", *(f"{key}={one}" for key, one in value.items())]
        elif isinstance(value, list):
            flags += [f"--{name}", *map(str, value)]
        elif value is not None:
            flags.append(f"--{name}={value}")
    return flags


def run(main: Callable[[], None]) -> int:
    """Call `main` and return the exit code: 0, 1, 2, 75 or 130.

    0 means success. 1 means that training met a number that is not finite, that a result is missing, or that a rank is
    lost. 2 means bad input, a full disk, or a place that may not be written or is in use. 75 means that a signal
    stopped the run (see `bistil_ds.training.preemption`), 130 that Ctrl-C did. For 1, 2 and 75, rank 0 prints the
    reason in one line. Output that does not go to a terminal loses its control characters.
    """
    with quiet.plain_output(), _own_cache():
        return _run(main)


@contextmanager
def _own_cache() -> Iterator[None]:
    """Restore $BISTIL_CACHE, which `--cache_dir` sets, when the block ends: a program may call several commands."""
    before = os.environ.get(CACHE)
    try:
        yield
    finally:
        os.environ.pop(CACHE, None)
        os.environ.update({} if before is None else {CACHE: before})


def _run(main: Callable[[], None]) -> int:
    try:
        main()
    except InputError as error:
        return _fail(str(error), 2, RANK_0_SECONDS)
    except (NonFiniteError, ProductError) as error:
        return _fail(str(error), 1, AGREED_SECONDS)
    except OtherRankError as error:
        return _fail(str(error), 1, RANK_0_SECONDS)
    except Exception as error:
        if (reason := unwritable(error)) is None:
            raise
        return _fail(reason, 2, RANK_0_SECONDS)
    except KeyboardInterrupt:
        return 130
    except Preempted as stop:
        if _is_rank_0():
            say(stop.message, error=True)
        return Preempted.CODE
    except SystemExit as stop:  # Python prints an exit code that is a string, so make that one harmless line
        raise SystemExit(one_line(stop.code) if isinstance(stop.code, str) else stop.code) from None
    return 0


def _fail(reason: str, code: int, seconds: float) -> int:
    """Print the reason on rank 0, and return `code`.

    Other ranks wait `seconds` first, because a launcher ends all ranks as soon as one exits.
    """
    if _is_rank_0():
        say(f"error: {reason}", error=True)
    else:
        time.sleep(seconds)
    return code


def _is_rank_0() -> bool:
    return int(os.environ.get("RANK", "0")) == 0
