"""Compile Triton kernels ahead of time, without a GPU, and read what resources their machine code needs."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CAPABILITIES: tuple[int, ...] = (80, 90)


def row(
    kernel: Any,
    configuration: str,
    signature: Mapping[str, Any],
    constants: Mapping[str, Any],
    settings: Mapping[str, int],
    capability: int,
) -> dict[str, Any]:
    """Compile one form of a kernel and return the registers, stack, spills and shared memory that it needs.

    Args:
        kernel: a `triton.jit` function.
        configuration: the form in words, for the table.
        signature: type of each run-time argument, as Triton writes it ("*bf16", "i32", or a tuple of types), or
            "i32:16" for a multiple of 16, such as most widths. Pointers count as 16-byte aligned, like torch's
            allocations.
        constants: values of the other arguments: constexprs, None, and integers that Triton specialises on, such as a
            stride of 1.
        settings: the launch configuration: constexprs and `num_warps`, `num_stages`, `maxnreg`.
        capability: the compute capability to compile for, such as 80 or 90.

    Raises:
        ValueError: an argument of the kernel has neither type nor value.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    options = {k: v for k, v in settings.items() if k in ("num_warps", "num_stages", "maxnreg")}
    fixed = {k: v for k, v in {**constants, **settings}.items() if k not in options}
    types = {name: signature.get(name, "constexpr") for name in kernel.arg_names}
    missing = [name for name in kernel.arg_names if name not in signature and name not in fixed]
    if missing:
        raise ValueError(f"{kernel.__name__}: no type or value for {missing}")
    types = {k: v.removesuffix(":16") if isinstance(v, str) else v for k, v in types.items()}
    aligned: dict[tuple[int, ...], Any] = {}
    for i, name in enumerate(kernel.arg_names):
        kind = signature.get(name, "constexpr")
        for j, one in enumerate(kind) if isinstance(kind, tuple) else [(None, kind)]:
            if one.startswith("*") or one.endswith(":16"):
                aligned[(i,) if j is None else (i, j)] = [["tt.divisibility", 16]]
    places = {(i,): fixed[name] for i, name in enumerate(kernel.arg_names) if types[name] == "constexpr"}
    source = ASTSource(fn=kernel, signature=types, constexprs=places, attrs=aligned)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    found = {
        "kernel": kernel.__name__,
        "configuration": configuration,
        "target": f"sm_{capability}",
        "warps": compiled.metadata.num_warps,
        "stages": compiled.metadata.num_stages,
    }
    return {**found, **_of_machine_code(compiled.asm["cubin"]), "shared_bytes": compiled.metadata.shared}


def _of_machine_code(cubin: bytes) -> dict[str, int]:
    """Return registers a thread, stack bytes, spills, and wide moves (global loads and stores of 16 bytes a thread).

    Spills are counted in instructions: loads from local memory and stores to it.
    """
    import triton.backends.nvidia

    tool = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage, code = (
            subprocess.run([tool, flag, file.name], capture_output=True, text=True, check=True).stdout
            for flag in ("-res-usage", "-sass")
        )
    numbers = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", usage))
    return {
        "registers": int(numbers["REG"]),
        "stack_bytes": int(numbers["STACK"]) + int(numbers["LOCAL"]),
        "spills": len(re.findall(r"\b(?:STL|LDL)\b", code)),
        "wide_moves": len(re.findall(r"\b(?:LDG|STG|LDGSTS)\.[\w.]*128\b", code)),
    }
