"""The process-wide choice between Triton kernels and PyTorch references."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

CHOICES = ("auto", "triton", "torch")
VARIABLE = "BISTIL_KERNELS"  # environment variable with the choice of a process that does not call `use`
FAMILIES = (
    "hidden_state",
    "attention_map",
    "logits",
    "linear_logits",
    "sparse.entries",
    "sparse.top_k",
    "sparse.adamw",
)

MISSING = 'bistil_kernels: the choice is "triton", and triton is not installed: pip install triton, or choose "torch"'

_choice = os.environ.get(VARIABLE) or "auto"
_switched_off: frozenset[str] = frozenset()


def use(choice: str, switched_off: Iterable[str] = ()) -> None:
    """Choose what serves CUDA tensors in this process from now on: Triton kernels or PyTorch references.

    Example:
        >>> use("torch")  # Triton is not imported, also on a GPU
        >>> use("auto")

    Args:
        choice: "auto" takes the kernels where Triton is installed. "triton" takes them too, and an operation raises an
            error where Triton is missing. "torch" takes the references. Without a call, the environment variable
            BISTIL_KERNELS has the choice; if it is not set, the choice is "auto".
        switched_off: families (see `FAMILIES`) that references serve under "auto" all the same, such as those that
            `self_check` found to fail.

    References always serve CPU tensors and float64 tensors, as no kernel takes these.

    Raises:
        ValueError: there is no such choice or family.
        ImportError: `choice` is "triton", and Triton is not installed.
    """
    global _choice, _switched_off
    off = frozenset(switched_off)
    if unknown := sorted(off - set(FAMILIES)):
        raise ValueError(f"bistil_kernels: no family is called {unknown[0]!r}; there are {', '.join(FAMILIES)}")
    _choice, _switched_off = checked(choice), off


@contextmanager
def using(choice: str, switched_off: Iterable[str] = ()) -> Iterator[None]:
    """Make the choice (see `use`) in this context only."""
    global _choice, _switched_off
    before = _choice, _switched_off
    use(choice, switched_off)
    try:
        yield
    finally:
        _choice, _switched_off = before


def chosen() -> str:
    """Return the choice that holds now, one of `CHOICES`.

    Raises:
        ValueError: BISTIL_KERNELS has no such choice.
        ImportError: BISTIL_KERNELS is "triton", and Triton is not installed.
    """
    return checked(_choice)


def switched_off() -> frozenset[str]:
    """Return the families that references serve under "auto" (see `use`)."""
    return _switched_off


def allows(family: str) -> bool:
    """Return whether the choice leaves a family's CUDA tensors to its Triton kernels."""
    if _choice not in CHOICES:  # only the environment variable can be wrong: `use` refuses
        checked(_choice)
    return _choice == "triton" or (_choice == "auto" and family not in _switched_off)


def has_triton() -> bool:
    """Return whether Triton is installed; this does not import it."""
    return find_spec("triton") is not None


def checked(choice: str) -> str:
    """Return the choice if it can be made.

    Raises:
        ValueError: there is no such choice.
        ImportError: it is "triton", and Triton is not installed.
    """
    if choice not in CHOICES:
        raise ValueError(f"bistil_kernels: the choice is {choice!r}, expected one of {', '.join(CHOICES)}")
    if choice == "triton" and not has_triton():
        raise ImportError(MISSING)
    return choice
