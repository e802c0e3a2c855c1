"""Make cheaper teachers, and measure how they change the losses and the student's gradient on a batch.

A cheaper teacher is a copy of the fp32 teacher that takes less time or memory. Student and losses stay in fp32.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from bistil_ds.benchmarking.models.engines import int8_matrices
from bistil_ds.distillation.distiller import Distiller

VARIANTS = ("bfloat16", "int8", "compiled")


def cheaper_teacher(name: str, teacher: PreTrainedModel) -> tuple[PreTrainedModel, nn.Module | None]:
    """Return a cheaper copy of the teacher, and the module to call in place of the copy (None: call the copy itself).

    "bfloat16" is a copy in bf16. "int8" has dynamic int8 linear layers in its encoder, for CPUs. For "compiled", the
    module to call is the compiled copy.
    """
    other = copy.deepcopy(teacher)
    if name == "bfloat16":
        return other.to(torch.bfloat16), None
    if name == "compiled":
        return other, torch.compile(other)  # type: ignore[return-value]
    int8_matrices(other.base_model.encoder)
    return other, None


@dataclass
class Cost:
    """How a cheaper teacher changes the losses and the gradient of a batch: g with it, g₀ with the fp32 teacher."""

    hidden: float  # relative difference of the hidden-state loss, averaged over layer pairs
    attention: float  # the same for the attention loss
    gradient_cosine: float  # cosine of g and g₀ over all student parameters
    gradient_difference: float  # |g − g₀| / |g₀|


def cost_in_the_loss(
    student: PreTrainedModel, layer_map: list[int], teacher: PreTrainedModel, name: str, inputs: dict[str, Tensor]
) -> Cost:
    """Compare the losses and gradients that the cheaper and the fp32 teacher give on one batch."""
    results = []
    for model, run in ((teacher, None), cheaper_teacher(name, teacher)):
        student.zero_grad(set_to_none=True)
        terms = Distiller(student, model, layer_map, run_teacher=run)(student, inputs)
        terms.total.backward()
        gradient = torch.cat([p.grad.flatten().double() for p in student.parameters() if p.grad is not None])
        results.append((terms["hidden"].mean().item(), terms["attention"].mean().item(), gradient))
    (hidden_0, attention_0, gradient_0), (hidden, attention, gradient) = results
    return Cost(
        hidden / hidden_0 - 1,
        attention / attention_0 - 1,
        float(torch.cosine_similarity(gradient, gradient_0, dim=0)),
        float((gradient - gradient_0).norm() / gradient_0.norm()),
    )
