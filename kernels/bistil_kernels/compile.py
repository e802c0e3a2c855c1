"""Compile the launch configurations ahead of time, for sm_80 and sm_90: no GPU is needed.

`python -m bistil_kernels.compile attention_map` prints the rows of one operation's resource table as JSON: registers,
stack and shared memory of each kernel. `--every_form` adds the other forms of each launch configuration,
and the other row lengths.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from bistil_kernels.runtime import machine_code

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
# most bytes of shared memory for a program; 99 KiB is the limit of sm_86 and sm_89, which run sm_80's code
SHARED_LIMITS = {"sm_80": 99 * 1024, "sm_90": 227 * 1024}
MOST_REGISTERS = 255


def rows(operation: str, every_form: bool = False, capability: int | None = None) -> list[dict[str, Any]]:
    """Compile one of `OPERATIONS`, for all capabilities or one (80 or 90); return the rows of its resource table.

    Compilation runs in a process of its own, so that Triton compiles even where this process uses the interpreter.

    Raises:
        RuntimeError: compilation failed; the message is the end of its stderr.
    """
    command = [sys.executable, "-m", "bistil_kernels.compile", operation, *["--every_form"] * every_form]
    command += [] if capability is None else ["--capability", str(capability)]
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    package = Path(__file__).parents[1]
    environment["PYTHONPATH"] = os.pathsep.join([str(package), *filter(None, [environment.get("PYTHONPATH")])])
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def faults(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a message for each limit that a row exceeds: on spills, stack, registers or shared memory."""
    found = []
    for one in rows:
        limits = {"spills": 0, "stack_bytes": 0, "registers": MOST_REGISTERS}
        limits["shared_bytes"] = SHARED_LIMITS[one["target"]]
        found += [
            f"{one['kernel']}, {one['configuration']}, {one['target']}: {one[name]} {name}, at most {limit}"
            for name, limit in limits.items()
            if one[name] > limit
        ]
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Print the resource table of one operation as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operation", choices=OPERATIONS)
    parser.add_argument("--every_form", action="store_true")
    parser.add_argument("--capability", type=int, choices=machine_code.CAPABILITIES)
    args = parser.parse_args(argv)
    if args.capability:
        machine_code.CAPABILITIES = (args.capability,)  # must be set before the cases import it
    cases = import_module(f"bistil_kernels.{args.operation}.compile_cases")
    print(json.dumps(cases.rows(args.every_form)))


if __name__ == "__main__":
    main()
