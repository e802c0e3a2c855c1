"""Command lines and recipes: known flags with likely and unlikely values, in every command."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random
from typing import Any

import tiny
import yaml

from bistil_ds.errors import InputError
from fuzz.families.commands import COMMANDS, MEASURING, TRAINING, Command, ReachedError, stopped
from fuzz.families.json_files import DEEPSPEED
from fuzz.family import Family
from fuzz.mutation import ODD_TEXTS, ODD_VALUES, mutated_bytes, mutated_json, often

WORDS = """
true false 0 1 2 9 -1 64 0.5 1e-4 1.0 nan inf -inf 1e400 aa en aa=aa.txt bb=bb.txt ner mlm embed nli mit no last steps
epoch x=aa.txt,bb.txt ner.txt dev.txt aa.txt plain:aa.txt texts ds.json zero2 zero3 cpu 1,3 mean 1->0.5 0.1:0.5 linear
cosine adamw_torch sgd org/name hf:org/name org/name@v2 x+y PER=LOC tags=2 -1=neutral {"a":1} { [1] ~/x ~ = a=
../../x ~no.such.user/x
"""
VALUES = [*WORDS.split(), "9" * 5000, "x" * 300]
PLACES = ("_dir", "_file", "_folder", "model", "student", "_sft", "text", "deepspeed", "seal_key", "checkpoint")
PATHS = ["~/x", "~no.such.user/x", "aa=~no.such.user/x", "x" * 300, "a/" * 3000, "\udcff", "aa.txt/x", "texts", ""]
# that take a long time or leave the process
HEAVY = {"torch_compile", "torch_compile_backend", "torch_compile_mode", "hub_token", "debug", "ddp_backend"}
FILES = {
    "aa.txt": "\n".join(tiny.text_lines("aa", 30)),
    "bb.txt": "\n".join(tiny.text_lines("bb", 30)),
    "texts/aa.txt": "\n".join(tiny.text_lines("aa", 30)),
    "ner.txt": "ba\tO\nke\tB-PER\n\nlo\tO\n",
    "dev.txt": "mi\tO\nsu\tB-PER\n",
    "nli.tsv": "premise\thypothesis\tlabel\na\tb\tneutral\n",
}
PLACE = "a/b/c"  # the folder in which a command runs, so far inside that ../../x is inside, too


def _value(rng: Random) -> str:
    text = rng.choice(VALUES) if rng.random() < 0.8 else rng.choice(ODD_TEXTS)
    # a command line holds no NUL, and of what is not UTF-8 only bytes
    return "".join(c for c in text if c != "\0" and (c >= "\udc80" or not "\ud800" <= c <= "\udfff"))


def _words(rng: Random, command: Command) -> list[str]:
    words = list(command.words)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 4])):
        name = rng.choice([name for name in command.names if name not in HEAVY])
        values = [_value(rng) for _ in range(rng.choice([0, 1, 1, 1, 1, 2]))]
        if places := [each for each in command.names if each.endswith(PLACES)]:
            name, values = often(rng, 0.2, lambda: (rng.choice(places), [rng.choice(PATHS)]), (name, values))
        more = [f"--{name}={values[0]}"] if values and rng.random() < 0.3 else [f"--{name}", *values]
        at = often(rng, 0.1, lambda: rng.randrange(len(words) + 1), len(words))
        words[at:at] = more
    match rng.randrange(16):
        case 0:
            del words[rng.randrange(len(words))]
        case 1:
            at = rng.randrange(len(words))
            words[at] = _value(rng)
        case 2:
            words.insert(
                rng.randrange(len(words) + 1), rng.choice(["--", "-", "-h", "--help_all", "--verbose", "--no", "x"])
            )
        case 3:
            words = [often(rng, 0.3, lambda: _value(rng), word) for word in words]
    return words


def _recipe(rng: Random, command: Command) -> bytes:
    content: dict[str, Any] = {}
    for _ in range(rng.randint(0, 4)):
        name = often(rng, 0.95, lambda: rng.choice(command.names), rng.choice(["x", "help", "verbose", "cache_dir"]))
        content[name] = rng.choice(
            [_value(rng), rng.choice(ODD_VALUES), [_value(rng), _value(rng)], {"a": _value(rng)}]
        )
    text = json.dumps(content, ensure_ascii=rng.random() < 0.5)  # YAML, too, and keeps every character
    if rng.random() < 0.3:
        text = yaml.safe_dump(json.loads(json.dumps(content)), allow_unicode=rng.random() < 0.5)
    data = text.encode("utf-8", errors="surrogatepass")
    return mutated_bytes(rng, data) if rng.random() < 0.15 else data


def make(rng: Random) -> tuple[dict[str, bytes], dict[str, Any]]:
    group = rng.choice([COMMANDS, COMMANDS, COMMANDS, MEASURING])
    name = rng.choice(list(group))
    words = _words(rng, group[name])
    files = {}
    if rng.random() < 0.3:
        files["recipe.yaml"] = _recipe(rng, group[name])
        words = ["recipe.yaml", *words]
    if name in TRAINING and rng.random() < 0.15:
        files["ds.json"] = mutated_json(rng, DEEPSPEED)
        words += ["--deepspeed", "ds.json"]
    return files, {"command": name, "words": words}


def run(folder: Path, about: Mapping[str, Any]) -> None:
    """Call a command; it is to be refused in one line with exit code 2, to print its help, or to be accepted."""
    command = {**COMMANDS, **MEASURING}[about["command"]]
    place = folder / PLACE
    place.mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")
    for path in folder.glob("*.*"):
        path.rename(place / path.name)
    out, error = io.StringIO(), io.StringIO()
    try:
        with stopped(), chdir(place), redirect_stdout(out), redirect_stderr(error):
            code = command.main(about["words"])
    except ReachedError:
        return
    except SystemExit as stop:
        code = stop.code
    if code == 0 and {"-h", "--help", "--help_all"} & set(about["words"]):
        return
    lines = error.getvalue().splitlines()
    assert code == 2, f"exit code {code}: {lines}"
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], lines
    raise InputError(lines[-1])


FAMILY = Family("flags", 0.05, make, run, lines=("console/yaml_file.py", "tasks/sources.py"))
