"""Test that every command in README, CONTRIBUTING and docs/ names scripts, flags and targets that exist."""

from __future__ import annotations

import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from documented_commands import WrongCommand, check, main_of
from documents import (
    DOCUMENTS,
    REPOSITORY,
    Block,
    blocks,
    commands,
    inline_commands,
    inline_flags,
    own_commands,
)

from bistil_ds.console import cli

BLOCKS = [block for path in DOCUMENTS for block in blocks(path)]
SCRIPTS = [path for folder in ("launch_scripts", "benchmarks") for path in sorted((REPOSITORY / folder).glob("*.py"))]
OTHERS_FLAGS = {"quiet", "signals-to-handle", "node-rank", "master-addr", "rdzv-backend", "module", "no-deps"}
OTHERS_FLAGS |= {"gpus-per-node", "gpus-per-task"}  # Slurm's


def check_block(block: Block) -> None:
    """Check a block by the rule of its kind.

    Raises:
        WrongCommand: no rule covers the block, or something in it would not work.
    """
    if block.kind == "indented":
        for words in commands(block):
            check(words)
    elif block.kind == "bash":
        done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)
        ours = list(own_commands(block))
        if done.returncode or not ours:
            raise WrongCommand(f"{block}: {done.stderr or 'a shell script without a command of ours'}")
        for words in ours:
            check(words)
    elif block.kind not in ("python", "bibtex"):  # Python: see test_python.py
        raise WrongCommand(f"{block}: no rule covers a block of {block.kind}")


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_is_covered_by_a_rule_and_would_work(block: Block) -> None:
    check_block(block)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_command_in_running_text_would_work(path: Path) -> None:
    for words in inline_commands(path):
        try:
            check([word for word in words if word != "…"])
        except WrongCommand as error:  # a flag may be named without its value
            if f"argument {words[-1]}: expected" not in str(error):
                raise


def test_every_flag_in_running_text_is_a_flag_of_some_command() -> None:
    known: set[str] = {"help", "help_all", "verbose", "cache_dir", "local_rank", *OTHERS_FLAGS}

    def collect(argv: Any, types: Any, *more: Any) -> None:
        for each in (each for kind in types for each in fields(kind)):
            known.update([each.name, *(alias.strip("-") for alias in each.metadata.get("aliases", ()))])
        raise KeyboardInterrupt

    with mock.patch.object(cli, "parse", collect):
        for script in SCRIPTS:
            assert main_of(str(script)) is not None
            main_of(str(script))([])
    unknown = {(path.name, flag) for path in DOCUMENTS for flag in inline_flags(path) if flag not in known}
    assert not unknown


@pytest.mark.parametrize(
    "text",
    [
        "    make everything",
        "    python launch_scripts/general.py --no_such_flag 1",
        "    python launch_scripts/generals.py",
        "    python launch_scripts/general.py --layer_reduction_factor two",
        "    deepspeed --num_gpu_cards 2 launch_scripts/general.py",
        "    deepspeed --num_gpus 2 launch_scripts/general.py --deepspeed ds_configs/zero9.json",
        "    python benchmarks/latency.py --no_such_flag",
        "    python examples/serve_embeddings.py folder",
        "    python examples/no_such_example.py folder 8000",
        "    bistil-general --no_such_flag 1",
        "    bistil-generals",
        "    pip install .[no_such_extra]",
        "    . venv/bin/activate",
        "    curl example.org",
        "```bash\nsrun torchrun --nnodes 2 launch_scripts/general.py --no_such_flag 1\n```",
        "```bash\nif true\n```",
        "```text\nhello\n```",
        "```\nmake setup\n```",
    ],
)
def test_a_command_that_would_not_work_is_found(text: str) -> None:
    (block,) = blocks(Path("page.md"), f"Words.\n\n{text}\n\nMore words.")
    with pytest.raises(WrongCommand):
        check_block(block)
