"""Compile the launch configurations ahead of time, for GPUs of NVIDIA and AMD: no GPU is needed.

`python -m bistil_kernels.compile attention_map` prints the rows of an operation's resource table as JSON: registers,
stack and shared memory of each kernel. `--forms every` adds the other forms of each launch configuration, and the other
row lengths; `--forms one` compiles a single form of each operation.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from bistil_kernels.runtime.machine_code import TARGETS, row

OPERATIONS = (
    "attention_map",
    "hidden_state",
    "linear_logits",
    "logits",
    "runtime",
    "sparse.adamw",
    "sparse.entries",
    "sparse.top_k",
)
FORMS = ("one", "few", "every")


class Limits(NamedTuple):
    """The most registers of a thread, bytes of shared memory of a program, and warps of a program (1,024 threads)."""

    registers: int
    shared_bytes: int
    warps: int


LIMITS = {
    "sm_80": Limits(255, 99 * 1024, 32),  # 99 KiB is the limit of sm_86 and sm_89, which run sm_80's code
    "sm_90": Limits(255, 227 * 1024, 32),
    "gfx942": Limits(512, 64 * 1024, 16),
    "gfx950": Limits(512, 160 * 1024, 16),
}


def rows(
    operations: Sequence[str] = OPERATIONS, forms: str = "few", targets: Sequence[str] = TARGETS
) -> list[dict[str, Any]]:
    """Compile some of `OPERATIONS` for some targets; return the rows of their resource table.

    Compilation runs in a process of its own, so that Triton compiles even where this process uses the interpreter.

    Args:
        operations: the operations to compile.
        forms: which forms of each operation: "one", "few" (one or two of each launch configuration), or "every".
        targets: the GPUs to compile for.

    Raises:
        RuntimeError: compilation failed; the message is the end of its stderr.
    """
    command = [sys.executable, "-m", "bistil_kernels.compile", *operations, "--forms", forms, "--target", *targets]
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    package = Path(__file__).parents[1]
    environment["PYTHONPATH"] = os.pathsep.join([str(package), *filter(None, [environment.get("PYTHONPATH")])])
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def faults(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a message for each limit that a row exceeds: on spills, stack, registers, shared memory or warps."""
    found = []
    for one in rows:
        limits = {"spills": 0, "stack_bytes": 0, **LIMITS[one["target"]]._asdict()}
        found += [
            f"{one['kernel']}, {one['configuration']}, {one['target']}: {one[name]} {name}, at most {limit}"
            for name, limit in limits.items()
            if one[name] > limit
        ]
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Print the resource table of some operations as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operations", nargs="+", choices=OPERATIONS)
    parser.add_argument("--forms", choices=FORMS, default="few")
    parser.add_argument("--target", nargs="+", choices=TARGETS, default=TARGETS)
    args = parser.parse_args(argv)
    found = []
    for operation in args.operations:
        every = import_module(f"bistil_kernels.{operation}.compile_cases").forms(args.forms == "every")
        chosen = list(islice(every, 1 if args.forms == "one" else None))
        found += [{"operation": operation, **row(form, target)} for target in args.target for form in chosen]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
