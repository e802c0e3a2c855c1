"""Compile Triton kernels ahead of time, without a GPU, and read what resources their machine code needs."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bistil_kernels.runtime.vendor import launchable

TARGETS = ("sm_80", "sm_90", "gfx942", "gfx950")  # A100; H100 and H200; AMD's MI300 and MI325; MI350 and MI355
OPTIONS = ("num_warps", "num_stages", "maxnreg")


class Form(NamedTuple):
    """One form of a kernel, which is compiled separately.

    Attributes:
        kernel: a `triton.jit` function.
        words: the form in words, for the table.
        signature: type of each run-time argument, as Triton writes it ("*bf16", "i32", or a tuple of types), or
            "i32:16" for a multiple of 16, such as most widths. Pointers count as 16-byte aligned, like torch's
            allocations.
        constants: values of the other arguments: constexprs, None, and integers that Triton specialises on, such as a
            stride of 1. They replace the types that `signature` has for these arguments.
        settings: the launch configuration: constexprs and `OPTIONS`.
        amds_settings: the launch configuration on AMD's GPUs, where it differs.
    """

    kernel: Any
    words: str
    signature: Mapping[str, Any]
    constants: Mapping[str, Any]
    settings: Mapping[str, int]
    amds_settings: Mapping[str, int] | None = None


def row(form: Form, target: str) -> dict[str, Any]:
    """Compile a form for one of `TARGETS`, and return the registers, stack, spills and shared memory that it needs.

    Raises:
        ValueError: an argument of the kernel has neither type nor value.
    """
    import triton
    from triton.compiler import ASTSource

    kernel, amd = form.kernel, is_amds(target)
    settings = launchable((amd and form.amds_settings) or form.settings, amd)
    options = {k: v for k, v in settings.items() if k in OPTIONS}
    fixed = {k: v for k, v in {**form.constants, **settings}.items() if k not in options}
    missing = [name for name in kernel.arg_names if name not in form.signature and name not in fixed]
    if missing:
        raise ValueError(f"{kernel.__name__}: no type or value for {missing}")
    types: dict[str, Any] = {}
    places: dict[tuple[int, ...], Any] = {}
    attributes: dict[tuple[int, ...], Any] = {}
    for i, name in enumerate(kernel.arg_names):
        kind = "constexpr" if name in fixed else form.signature[name]
        types[name] = kind.removesuffix(":16") if isinstance(kind, str) else kind
        if name in fixed:
            places[i,] = fixed[name]
        for j, one in enumerate(kind) if isinstance(kind, tuple) else [(None, kind)]:
            if found := _attributes(one, amd):
                attributes[(i,) if j is None else (i, j)] = found
    source = ASTSource(fn=kernel, signature=types, constexprs=places, attrs=attributes)
    compiled = triton.compile(source, target=_gpu(target), options=options)
    read = _of_amdgcn(compiled.asm["amdgcn"]) if amd else _of_cubin(compiled.asm["cubin"])
    return {
        "kernel": kernel.__name__,
        "configuration": form.words,
        "target": target,
        "warps": compiled.metadata.num_warps,
        "stages": compiled.metadata.num_stages,
        **read,
        "shared_bytes": compiled.metadata.shared,
    }


def is_amds(target: str) -> bool:
    """Return whether one of `TARGETS` is a GPU of AMD."""
    return target.startswith("gfx")


def _gpu(target: str) -> Any:
    """Return Triton's name of a target, with the number of threads that run as one: a warp, or AMD's wavefront."""
    from triton.backends.compiler import GPUTarget

    return GPUTarget("hip", target, 64) if is_amds(target) else GPUTarget("cuda", int(target.removeprefix("sm_")), 32)


def _attributes(kind: str, amd: bool) -> list[list[Any]]:
    """Return what a launch tells Triton about an argument of this type."""
    found: list[list[Any]] = []
    if kind.startswith("*") or kind.endswith(":16"):
        found.append(["tt.divisibility", 16])
    if kind.startswith("*") and amd:  # Triton compiles tensors of less than 2 GiB otherwise there, and most are
        found.append(["tt.pointer_range", 32])
    return found


def _of_cubin(cubin: bytes) -> dict[str, int]:
    """Return what NVIDIA's code needs: registers a thread, stack bytes, spills, and wide moves.

    Spills are counted in instructions: loads from local memory and stores to it. Wide moves are global loads and stores
    of 16 bytes a thread.
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


def _of_amdgcn(code: str) -> dict[str, int]:
    """Return what AMD's code needs: the same as `_of_cubin`, and three numbers that only AMD's GPUs have.

    `registers` are vector registers a thread, `accumulators` among them: those that only matrix instructions and moves
    reach. Spills are counted in registers: `spills` are vector registers kept in memory. `scalar_registers` belong to
    a wavefront; those that spill (`scalar_spills`) go to vector registers, not to memory.
    """
    numbers = dict(re.findall(r"\.(\w+): +(\d+)", code[code.index("amdhsa.kernels:") :]))
    return {
        "registers": int(numbers["vgpr_count"]),
        "stack_bytes": int(numbers["private_segment_fixed_size"]),
        "spills": int(numbers["vgpr_spill_count"]),
        "wide_moves": len(re.findall(r"\b(?:global|buffer|flat)_(?:load|store)_dwordx4\b", code)),
        "accumulators": int(numbers["agpr_count"]),
        "scalar_registers": int(numbers["sgpr_count"]),
        "scalar_spills": int(numbers["sgpr_spill_count"]),
    }
