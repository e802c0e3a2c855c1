"""The frozen projections that bring teacher states to the width of a narrower student, so that losses can compare them.

Sizes: n tokens, Dt teacher width, Ds student width. In names of variables the widths are t and s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bistil_ds.errors import InputError

FILE = "projections.safetensors"


def fit_projections(states: Iterable[Tensor], width: int) -> list[Tensor]:
    """Fit a projection of rank `width` for each state, and rotate it towards the projection of the state before.

    The columns span the leading right singular vectors of the states, computed from their Dt x Dt second moment. States
    are not centred, because losses compare them without a bias term. Without a bias term, the squared error is least in
    this subspace.

    All layers of a student add to one residual stream, so projected states should change little from one state to the
    next. Each basis is therefore rotated within its subspace (orthogonal Procrustes) to make this change as small as
    possible. The rotation of the first basis remains free. It is chosen such that layer norms fit well (measured: a
    fifth of the error of state 0 depends on this choice).

    Args:
        states: fp32 [n, Dt] each, of the same n tokens.

    Returns:
        A matrix fp32 [Dt, width] with orthonormal columns for each state.
    """
    projections: list[Tensor] = []
    previous_ns = torch.empty(0)
    for state_nt in states:
        state_nt = state_nt.double()
        _, vectors = torch.linalg.eigh(state_nt.T @ state_nt)  # ascending eigenvalues
        basis_ts = vectors[:, -width:].flip(1)
        if projections:
            left, _, right = torch.linalg.svd((state_nt @ basis_ts).T @ previous_ns)
            basis_ts = basis_ts @ left @ right
        else:
            basis_ts = _mirror_to_mean(basis_ts, state_nt)
        previous_ns = state_nt @ basis_ts
        projections.append(basis_ts.float().contiguous())
    return projections


def _mirror_to_mean(basis_ts: Tensor, state_nt: Tensor) -> Tensor:
    """Mirror the basis so that the mean over its dimensions varies as little as possible from token to token.

    The student's layer norms remove this mean; the less it varies, the less information they lose.
    """
    _, vectors = torch.linalg.eigh(torch.cov((state_nt @ basis_ts).T))
    mirror_s = vectors[:, 0] - basis_ts.shape[1] ** -0.5
    if mirror_s.norm() < 1e-9:
        return basis_ts
    mirror_s /= mirror_s.norm()
    return basis_ts - 2 * torch.outer(basis_ts @ mirror_s, mirror_s)


def save_projections(folder: str | Path, projections: Sequence[Tensor]) -> None:
    """Write `projections.safetensors` in `folder`, with an fp32 matrix [Dt, Ds] for each state of the student."""
    save_file({f"state_{i:03d}": p.cpu().contiguous() for i, p in enumerate(projections)}, Path(folder) / FILE)


def load_projections(folder: str | Path) -> list[Tensor] | None:
    """Read what `save_projections` wrote in `folder`; None when there is no such file.

    Raises:
        InputError: the file is not one that `save_projections` wrote.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return None
    try:
        tensors = load_file(path)
        return [tensors[f"state_{i:03d}"] for i in range(len(tensors))]
    except (SafetensorError, KeyError) as error:
        raise InputError(f"{path} is not a file of projections ({error}): build the student again") from error
