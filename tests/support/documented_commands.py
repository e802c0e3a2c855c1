"""Check the commands that documents show: their own parsers must accept them, and the files they name must exist."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import tomllib
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

from documents import REPOSITORY, SCRIPT

from bistil_ds.console import cli
from bistil_ds.distributed.config import find_config
from bistil_ds.errors import InputError

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
PACKAGES = {re.split(r"[<>=;\[ ]", each)[0] for group in (PROJECT["dependencies"], *EXTRAS.values()) for each in group}
PLACEHOLDERS = {"recipe.yaml": str(REPOSITORY / "launch_scripts" / "recipes" / "mbert-k2.yaml")}

# flags of pip in our documents → how many words follow
PIP_FLAGS = {"--no-deps": 0, "--no-index": 0, "--only-binary": 1, "--python-version": 1, "--platform": 1}
PIP_FLAGS |= {"--find-links": 1, "-d": 1, "-w": 1}


class WrongCommand(Exception):
    """A document shows a command that would not work."""


class _Parsed(Exception):
    """Raised with the flags of a command, to leave its `main` before it runs anything."""


def check(words: Sequence[str]) -> None:
    """Check one command.

    Raises:
        WrongCommand: no rule covers the command, or it names something that does not exist.
    """
    words = [word for word in words if word != "..."]
    while "=" in words[0]:  # NAME=value before a command
        words = words[1:]
    first, rest = words[0], list(words[1:])
    if first in RULES:
        RULES[first](rest)
    elif first in PROJECT["scripts"]:
        module, _, function = PROJECT["scripts"][first].partition(":")
        flags_of(getattr(importlib.import_module(module), function), rest)
    elif SCRIPT.fullmatch(first):
        _script(first, rest)
    else:
        raise WrongCommand(f"{first}: no rule covers this command")


def flags_of(main: Callable[[Sequence[str]], Any], words: Sequence[str]) -> argparse.Namespace:
    """Return the flags that `main`, the function of a command of ours, makes of `words`; nothing is run.

    Raises:
        WrongCommand: the command's parser refuses them.
    """
    parse = cli.parse

    def only_parse(argv: Sequence[str], *args: Any) -> None:
        try:
            raise _Parsed(parse(argv, *args))
        except InputError as error:
            raise WrongCommand(str(error)) from None

    with mock.patch.object(cli, "parse", only_parse):
        try:
            main([PLACEHOLDERS.get(word, word) for word in words])
        except _Parsed as parsed:
            (flags,) = parsed.args
        except SystemExit:  # --help
            return argparse.Namespace()
    if getattr(flags, "deepspeed", None):
        try:
            find_config(flags.deepspeed)
        except InputError as error:
            raise WrongCommand(str(error)) from None
    return flags  # type: ignore[no-any-return]


def main_of(script: str) -> Callable[[Sequence[str]], Any]:
    """Return the function `main` of a script in `launch_scripts/` or `benchmarks/`, named with or without its folder.

    Raises:
        WrongCommand: there is no such script.
    """
    for path in (REPOSITORY / script, *(REPOSITORY / folder / script for folder in ("launch_scripts", "benchmarks"))):
        if path.is_file():
            spec = importlib.util.spec_from_file_location(f"documented_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module.main  # type: ignore[no-any-return]
    raise WrongCommand(f"{script}: there is no such script")


def _script(script: str, words: Sequence[str]) -> None:
    if script.startswith("tests/"):  # a tool for developers, whose first word says what to do
        path = REPOSITORY / script
        if not path.is_file() or f" {words[0]}" not in path.read_text():
            raise WrongCommand(f"{script} {words[0]}: there is no such script, or it does not know the word")
        return
    if script.startswith("examples/"):  # a few lines that take words in a fixed order
        path = REPOSITORY / script
        taken = set(re.findall(r"sys\.argv\[(\d)\]", path.read_text())) if path.is_file() else None
        if taken != {str(place + 1) for place in range(len(words))}:
            raise WrongCommand(f"{script} {' '.join(words)}: there is no such example, or it takes other words")
        return
    flags_of(main_of(script), words)


def _make(words: Sequence[str]) -> None:
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    if missing := [word for word in words if "=" not in word and word not in targets]:
        raise WrongCommand(f"make {' '.join(missing)}: no such target")


def _python(words: Sequence[str]) -> None:
    if words[0] == "-m":
        if words[1] not in PACKAGES and importlib.util.find_spec(words[1]) is None:
            raise WrongCommand(f"python -m {words[1]}: no such module")
        return
    _script(words[0], words[1:])


def _deepspeed(words: Sequence[str]) -> None:
    from deepspeed.launcher.runner import parse_args

    if not any(SCRIPT.fullmatch(word) for word in words) and "--module" not in words:
        words = [*words, "launch_scripts/general.py"]  # running text that shows a flag of the launcher
    _launched(_refusing(parse_args, words))


def _torchrun(words: Sequence[str]) -> None:
    from torch.distributed.run import get_args_parser

    words = [re.sub(r"^\$\w+$", "1", word) for word in words]  # variables that Slurm sets stand for numbers
    parsed = _refusing(get_args_parser().parse_args, words)
    parsed.user_script, parsed.user_args = parsed.training_script, parsed.training_script_args
    _launched(parsed)


def _refusing(parse: Callable[[Sequence[str]], Any], words: Sequence[str]) -> Any:
    try:
        return parse(words)
    except SystemExit:
        raise WrongCommand(f"the launcher refuses {' '.join(words)}") from None


def _launched(parsed: Any) -> None:
    if parsed.module:
        flags_of(importlib.import_module(parsed.user_script).main, parsed.user_args)
    else:
        _script(parsed.user_script, parsed.user_args)


def _pip(words: Sequence[str]) -> None:
    words = list(words[1:])
    for flag in [word for word in words if word in PIP_FLAGS]:
        place = words.index(flag)
        del words[place : place + 1 + PIP_FLAGS[flag]]
    if "--constraint" in words:
        place = words.index("--constraint")
        if not (REPOSITORY / words[place + 1]).is_file():
            raise WrongCommand(f"pip: no file {words[place + 1]}")
        del words[place : place + 2]
    for word in (word.strip("'") for word in words):
        name, _, extra = word.partition("[")
        known = name in (".", PROJECT["name"], *PACKAGES) or name.startswith("dist/")
        if not known or (extra and extra.rstrip("]") not in EXTRAS):
            raise WrongCommand(f"pip install {word}: neither this project nor one that it depends on")


def _docker(words: Sequence[str]) -> None:
    file = REPOSITORY / "Dockerfile"
    text = file.read_text() if file.is_file() else ""
    for place, word in enumerate(words):
        if word == "--build-arg" and not re.search(rf"^ARG {words[place + 1].split('=')[0]}\b", text, re.MULTILINE):
            raise WrongCommand(f"docker: the Dockerfile has no ARG {words[place + 1]}")
    ours = [place for place, word in enumerate(words) if word in PROJECT["scripts"]]
    if not text or (words[0] == "run" and not ours):
        raise WrongCommand(f"docker {' '.join(words)}: no Dockerfile, or a command that is not ours")
    if ours:
        check(words[ours[0] :])


def _activate(words: Sequence[str]) -> None:
    folder = re.search(r"^VENV := (\S+)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    if folder is None or list(words) != [f"{folder[1]}/bin/activate"]:
        raise WrongCommand(f". {' '.join(words)}: not the environment that `make setup` makes")


def _tool(name: str, flags: set[str]) -> Callable[[Sequence[str]], None]:
    """Return the rule for a command of another package: we must depend on the package, and `flags` has its flags."""

    def rule(words: Sequence[str]) -> None:
        if unknown := [word for word in words if word.startswith("-") and word not in flags]:
            raise WrongCommand(f"{name} {' '.join(unknown)}: no rule knows this flag")
        if not {name, f"{name}-skinny"} & set(PACKAGES):  # mlflow comes as mlflow-skinny
            raise WrongCommand(f"{name}: {PROJECT['name']} does not depend on it")

    return rule


RULES: dict[str, Callable[[list[str]], None]] = {
    "make": _make,
    "python": _python,
    "deepspeed": _deepspeed,
    "torchrun": _torchrun,
    "pip": _pip,
    "docker": _docker,
    ".": _activate,
    "cd": lambda words: None,
    "tensorboard": _tool("tensorboard", {"--logdir"}),
    "wandb": _tool("wandb", set()),
    "mlflow": _tool("mlflow", {"--backend-store-uri"}),
}
