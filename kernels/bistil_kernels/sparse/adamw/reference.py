"""AdamW on sparse deltas: the optimizer, and its update in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from bistil_kernels.runtime.dispatch import outside_compiled_code
from bistil_kernels.sparse.delta import is_served, write_deltas
from bistil_kernels.sparse.entries.reference import gather_at
from bistil_kernels.sparse.types import SparseDelta


class SparseAdamW(torch.optim.Optimizer):
    """AdamW on `SparseDelta`s: one step updates each delta's K entries, their moments, and the weight at K positions.

    Example:
        >>> delta = SparseDelta.of(torch.zeros(3, requires_grad=True), torch.tensor([1]))
        >>> delta.weight.grad = torch.ones(3)
        >>> SparseAdamW([delta], lr=0.5).step()  # only position 1 of the weight is written
        >>> delta.weight.detach()
        tensor([ 0.0000, -0.5000,  0.0000])

    Moments, bias corrections and update are those of torch's AdamW on the delta. So decoupled weight decay shrinks the
    *delta*: it pulls a weight towards its starting point (the pretrained value), not towards 0.

    A delta's gradient is `delta_K.grad` (fp32 [K]) if there is one, otherwise the entries of `weight.grad` (any
    floating dtype) at the delta's K positions. A delta without either gradient is left out of that step. `zero_grad`
    clears both.

    Args:
        params: `SparseDelta`s, or parameter groups `{"params": [SparseDelta, ...], "lr": ...}`.
        lr, betas, eps, weight_decay: as for torch's AdamW, but the decay shrinks the delta.

    Raises:
        ValueError: a hyperparameter is out of range, or a delta is in two parameter groups or twice in one.

    On CUDA one launch serves a parameter group (several if the group mixes devices, dtypes, step counts or both kinds
    of gradient). If a weight of the group is float64 or not contiguous, torch's foreach AdamW updates the group's
    deltas instead. On a CPU torch's fused AdamW updates them. `step` runs outside compiled code and is no torch
    operator: its scalars change with every step, its table of pointers stays on the device, and one launch leaves
    nothing to fuse.

    Memory for a delta of K entries: at most 16·K bytes for delta, start and two moments (20·K for a float64 weight),
    and 4·K for indices (8·K if they are int64). Nothing is kept for the weight's other entries.

    Bytes moved for a delta in a launch, with e bytes an element of weight and gradient: 24·K (delta and moments, read
    and written), e·K of start, 4·K of indices, and the touched 32-byte sectors of gradient and weight. For K random
    positions in a weight of n entries and ρ = K/n, these sectors are a share 1 − (1 − ρ)^(32/e) of each tensor. At
    ρ = 8 % all this is 6.5·n bytes in fp32 and 5.4·n in bf16. Dense AdamW moves 28·n bytes in fp32, and 22·n in bf16
    with moments in fp32. Above ρ = 3.1 % a bitmask of n/8 bytes would be smaller than the indices. It is not used,
    because at 8 % it would save only 3 to 4 % of the bytes moved.

    Source: lottery-ticket sparse fine-tuning (LT-SFT, arXiv 2110.07560), which masks a dense optimizer's gradients.
    """

    def __init__(
        self,
        params: Iterable[SparseDelta] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if lr < 0 or eps < 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(
                f"SparseAdamW: lr {lr}, betas {betas}, eps {eps}, weight_decay {weight_decay} out of range"
            )
        self._deltas: dict[Tensor, SparseDelta] = {}
        self._launches: dict[tuple[int, ...], Any] = {}
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})  # type: ignore[arg-type]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group `{"params": [SparseDelta, ...], ...}`."""
        deltas = param_group["params"]
        deltas = [deltas] if isinstance(deltas, SparseDelta) else list(deltas)
        of_parameter = {x.delta_K: x for x in deltas}
        if len(of_parameter) < len(deltas):
            raise ValueError("SparseAdamW: a delta is twice in one parameter group, expected each once")
        super().add_param_group({**param_group, "params": list(of_parameter)})
        self._deltas.update(of_parameter)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of deltas and weights."""
        super().zero_grad(set_to_none)
        for delta in self._deltas.values():
            if delta.weight.grad is not None:
                delta.weight.grad = None if set_to_none else delta.weight.grad.zero_()

    @outside_compiled_code
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step; return the result of `closure`, a function that computes the gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            of_step: dict[int, list[tuple[SparseDelta, dict[str, Any], Tensor]]] = {}
            for parameter in group["params"]:
                delta, gradient = self._deltas[parameter], parameter.grad
                if gradient is None:
                    gradient = delta.weight.grad
                if gradient is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = 0
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                state["step"] += 1
                of_step.setdefault(state["step"], []).append((delta, state, gradient))
            for step, each in of_step.items():
                deltas, states, gradients = (list(x) for x in zip(*each))
                self._update(group, deltas, states, gradients, step)
        return loss

    def _update(
        self,
        group: dict[str, Any],
        deltas: list[SparseDelta],
        states: list[dict[str, Any]],
        gradients: list[Tensor],
        step: int,
    ) -> None:
        if is_served(deltas):
            moments = [(s["exp_avg"], s["exp_avg_sq"]) for s in states]
            settings = {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")}
            self._launch(deltas).adamw(gradients, moments, step, **settings)
            return
        of_weights = [n for n, x in enumerate(deltas) if x.delta_K.grad is None]
        picked = gather_at([gradients[n] for n in of_weights], [deltas[n].indices_K for n in of_weights])
        for n, gradient in zip(of_weights, picked):
            gradients[n] = gradient.float()
        fused = all(x.delta_K.is_cpu for x in deltas)
        adamw(
            [x.delta_K for x in deltas],
            gradients,
            [s["exp_avg"] for s in states],
            [s["exp_avg_sq"] for s in states],
            [],
            [torch.tensor(step - 1.0) for _ in states],
            foreach=not fused,
            fused=fused,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        write_deltas(deltas)

    def _launch(self, deltas: list[SparseDelta]) -> Any:
        """Return the `SparseUpdate` of these deltas, and keep it: its tables stay on the device between steps."""
        from bistil_kernels.sparse.adamw import fused

        key = tuple(id(x) for x in deltas)
        if key not in self._launches:
            self._launches[key] = fused.SparseUpdate(deltas)
        return self._launches[key]
