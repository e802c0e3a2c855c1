"""What differs between GPUs of NVIDIA and of AMD. PyTorch calls both "cuda": `is_cuda` is true for AMD's too."""

from __future__ import annotations

from collections.abc import Mapping

import torch

NVIDIA_OPTIONS = ("maxnreg",)  # options of a launch that Triton refuses where it compiles for AMD's GPUs


def is_amd() -> bool:
    """Return whether this build of torch is for AMD's GPUs (ROCm)."""
    return torch.version.hip is not None


def launchable(settings: Mapping[str, int], amd: bool | None = None) -> dict[str, int]:
    """Return a launch configuration without the options that Triton does not take for this vendor's GPUs.

    Args:
        settings: constexprs of the kernel, and options of the launch such as `num_warps`.
        amd: whether it is for AMD's GPUs; without it, what `is_amd` says.
    """
    amd = is_amd() if amd is None else amd
    return {name: value for name, value in settings.items() if not (amd and name in NVIDIA_OPTIONS)}
