"""Forms of the kernel `scale`, which operations share, to compile ahead of time: dtypes, in place or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bistil_kernels.runtime.machine_code import Form

P = 7  # gradients in a launch, one for each state of a six-layer student (embeddings and 6 layers)


def forms(every_form: bool = True) -> Iterator[Form]:
    """Yield all forms of `scale`; `every_form` changes nothing here."""
    from bistil_kernels.runtime import scaling as module

    both = [(x, x, place) for x in ("bf16", "fp16", "fp32") for place in ("in place", "into a new tensor")]
    for source, target, place in [*both, ("fp32", "fp16", "into a new tensor")]:
        signature = {"sources": (f"*{source}",) * P, "prepared": "*fp32", "upstream": "*fp32", "elements": "i32:16"}
        constants: dict[str, Any] = {"upstream_stride": 1}
        if place == "in place":
            constants["targets"] = None
        else:
            signature["targets"] = (f"*{target}",) * P
        name = f"{source} {place}" if source == target else f"{source} to {target} {place}"
        yield Form(module.scale, name, signature, constants, module.SCALING)
