"""Record the inputs of the teacher's layer norms on a sample of text, for width reduction.

Names of axes: B sequences of a batch, T tokens of a sequence, n real tokens of the whole sample, t teacher width,
s student width. The real tokens are in order of batches, and of rows within a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from bistil_ds.console.progress import progress_bar
from bistil_ds.errors import InputError


class Norm(NamedTuple):
    """A layer norm of the teacher: its weight [t], and its fp32 inputs and outputs [n, t] on the sample."""

    inputs_nt: Tensor
    outputs_nt: Tensor
    weight_t: Tensor

    def writer(self, projection_ts: Tensor) -> Tensor:
        """Return a matrix [t, s] that maps this norm's inputs to inputs of the student's norm.

        From the mapped inputs, the student's norm computes approximately this norm's outputs times `projection_ts`. The
        matrix removes each token's mean, as this norm does. It leaves the division by the standard deviation and the
        bias to the student's norm.
        """
        scaled_ts = self.weight_t[:, None] * projection_ts
        return scaled_ts - scaled_ts.mean(0)


class Sample:
    """Recorded inputs of some of the teacher's layer norms, at the real tokens of a sample; 4·n·t bytes a norm."""

    def __init__(self, teacher: PreTrainedModel, inputs: dict[str, Tensor], masks_BT: list[Tensor]) -> None:
        self.teacher = teacher
        self.inputs = inputs
        self.masks_BT = masks_BT  # one for each batch; True on real tokens

    def norm(self, name: str) -> Norm:
        """Return the teacher's layer norm called `name`, with its inputs and outputs on the sample."""
        module = self.teacher.get_submodule(name)
        assert isinstance(module, nn.LayerNorm)
        inputs_nt, weight_t, bias_t = self.inputs[name], module.weight.detach().float(), module.bias.detach().float()
        return Norm(inputs_nt, F.layer_norm(inputs_nt, weight_t.shape, weight_t, bias_t, module.eps), weight_t)


@torch.no_grad()
def sample_teacher(
    teacher: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]], norms: Sequence[str], progress: bool
) -> Sample:
    """Run the teacher's encoder, in eval mode, over `batches` and keep the inputs of the named layer norms.

    Args:
        batches: dicts with `input_ids` [B, T] and, where there is padding, `attention_mask` [B, T].

    Raises:
        InputError: the batches have no real token.
    """
    kept: dict[str, list[Tensor]] = {name: [] for name in norms}
    masks_BT: list[Tensor] = []

    def keep_inputs_of(name: str) -> torch.utils.hooks.RemovableHandle:
        def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            kept[name].append(inputs[0][masks_BT[-1]].float())

        return teacher.get_submodule(name).register_forward_pre_hook(keep)

    was_training = teacher.training
    teacher.eval()
    handles = [keep_inputs_of(name) for name in norms]
    try:
        for batch in progress_bar(batches, "sampling teacher states", show=progress):
            ids_BT = batch["input_ids"].to(teacher.device)
            mask_BT = batch.get("attention_mask", torch.ones_like(ids_BT)).to(teacher.device)
            masks_BT.append(mask_BT.bool())
            teacher.base_model(input_ids=ids_BT, attention_mask=mask_BT)
    finally:
        for handle in handles:
            handle.remove()
        teacher.train(was_training)
    if not any(bool(mask_BT.any()) for mask_BT in masks_BT):
        raise InputError("sample_batches holds no real token: width reduction needs a sample of text to fit on")
    return Sample(teacher, {name: torch.cat(parts) for name, parts in kept.items()}, masks_BT)
