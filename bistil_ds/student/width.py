"""Width reduction (BiStil, section 3.1): which widths are possible, and the student's tensors and projections."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from bistil_ds.console.progress import progress_bar
from bistil_ds.errors import InputError
from bistil_ds.models.families import family_of
from bistil_ds.student.narrowing import Narrowing
from bistil_ds.student.projections import fit_projections
from bistil_ds.student.sampling import sample_teacher


def narrow_config(config: PretrainedConfig, factor: int) -> None:
    """Divide the hidden and the intermediate width of `config` by `factor`, in place; the number of heads stays.

    Raises:
        InputError: `factor` does not divide the head width and the intermediate width.
    """
    head_width = config.hidden_size // config.num_attention_heads
    common = math.gcd(head_width, config.intermediate_size)
    if factor < 1 or common % factor:
        possible = [f for f in range(1, common + 1) if common % f == 0]
        raise InputError(
            f"hidden_reduction_factor {factor} does not divide heads of width {head_width} and an intermediate width "
            f"of {config.intermediate_size}: use one of {possible}"
        )
    config.hidden_size //= factor
    config.intermediate_size //= factor


@torch.no_grad()
def reduce_width(
    teacher: PreTrainedModel,
    config: PretrainedConfig,
    layer_map: Sequence[int],
    batches: Iterable[Mapping[str, Tensor]],
    progress: bool,
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Fit the student that `config` describes; return name → tensor, and a projection for each of its states.

    The tensors have the teacher's dtype. The teacher runs once over `batches`; a few thousand tokens are enough. With n
    real tokens and teacher width Dt, its recorded states take up to 12·n·Dt bytes of memory for each student layer.

    Raises:
        InputError: the teacher's layers are not those of BERT, or `batches` have no real token.
    """
    family = family_of(teacher)
    if not family.bert_layers or family.pre_norm:
        raise InputError(
            f"width reduction is not available for {config.model_type} models: leave hidden_reduction_factor at 1"
        )
    state_norms = [
        family.embedding_norm,
        *(family.layer(index).norm for index in range(layer_map[-1] + 1)),
    ]  # state i of the teacher is the output of state_norms[i]
    needed = {state_norms[0]}
    for layer in layer_map:
        needed |= {state_norms[layer], state_norms[layer + 1]}
        needed.add(family.layer(layer).attention_norm)
    sample = sample_teacher(teacher, batches, sorted(needed), progress)

    def teacher_state(index: int) -> Tensor:
        return sample.norm(state_norms[index]).outputs_nt

    aligned = [0, *(layer + 1 for layer in layer_map)]
    projections = fit_projections((teacher_state(index) for index in aligned), config.hidden_size)
    narrowing = Narrowing(teacher, config, sample)
    stream_ns = narrowing.embeddings(projections[0])
    for i, layer in enumerate(progress_bar(layer_map, "fitting student layers", show=progress)):
        stream_ns = narrowing.attention(i, layer, stream_ns, teacher_state(layer), projections[i])
        stream_ns = narrowing.feed_forward(i, layer, stream_ns, projections[i], projections[i + 1])
    if family.head:
        narrowing.head(family.head, stream_ns, teacher_state(aligned[-1]))
    else:
        narrowing.pooler(projections[-1])
    return {name: tensor.to(teacher.dtype) for name, tensor in narrowing.state.items()}, projections
