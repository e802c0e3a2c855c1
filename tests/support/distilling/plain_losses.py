"""Phase 1's losses the plain way: eager attention, every map materialised, the real positions picked out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from student_models import VOCABULARY, tiny_batches, tiny_teacher
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from transformers import PreTrainedModel

from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.student import build_student

Batch = dict[str, Tensor]


def pair(kind: str = "xlm-roberta", layer_map: Sequence[int] | None = None, reduction: int = 1, **changes: object):
    """Return a teacher, a student with weights moved away from the teacher's, the layer map and the projections."""
    teacher = tiny_teacher(kind, **changes)
    sample = tiny_batches(5, 4) if reduction > 1 else None
    built = build_student(
        teacher, layer_map=layer_map, hidden_reduction_factor=reduction, sample_batches=sample, progress=False
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in built.student.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return teacher, built.student.train(), built.layer_map, built.projections


def padded(seed: int = 3) -> Batch:
    return next(tiny_batches(seed, 1))


def packed(seed: int = 3) -> Batch:
    return {"input_ids": torch.randint(5, VOCABULARY, (4, 12), generator=torch.Generator().manual_seed(seed))}


def with_labels(batch: Batch) -> Batch:
    chosen = torch.rand(batch["input_ids"].shape, generator=torch.Generator().manual_seed(0)) < 0.3
    if "attention_mask" in batch:
        chosen &= batch["attention_mask"].bool()
    return {**batch, "labels": torch.where(chosen, batch["input_ids"], -100)}


def eager(model: PreTrainedModel, batch: Batch):
    """Run the model with eager attention and return maps and states too; restore its attention afterwards."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    inputs = {k: v for k, v in batch.items() if k != "labels"}
    try:
        return model(**inputs, output_hidden_states=True, output_attentions=True)
    finally:
        model.set_attn_implementation(before)


def plain_terms(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    layer_map: Sequence[int],
    batch: Batch,
    losses: LossArguments,
    projections: Sequence[Tensor] | None = None,
) -> dict[str, Tensor]:
    with torch.no_grad():
        theirs = eager(teacher, batch)
    ours = eager(student, batch)
    mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
    everything = torch.ones_like(mask)
    counted = everything if losses.published_losses else mask
    hidden, attention = [], []
    for i, state in enumerate(ours.hidden_states):
        target = theirs.hidden_states[0 if i == 0 else layer_map[i - 1] + 1]
        if projections is not None:
            target = target @ projections[i]
        difference = (
            (state - target).pow(2) if losses.hidden_loss == "mse" else 1 - cosine_similarity(state, target, dim=-1)
        )
        hidden.append(difference[counted].mean())
    for i, map_s in enumerate(ours.attentions):
        map_t, values, rows = theirs.attentions[layer_map[i]], [], []
        for b in range(len(mask)):
            s, t = map_s[b][:, counted[b]][..., mask[b]], map_t[b][:, counted[b]][..., mask[b]]
            values.append((s - t).pow(2).flatten())
            rows.append((t * (t.log() - s.log())).sum(-1).flatten())
        attention.append(torch.cat(values if losses.attention_loss == "mse" else rows).mean())
    if losses.align_layers == "last":
        hidden, attention = hidden[-1:], attention[-1:]
    terms = {"hidden": torch.stack(hidden), "attention": torch.stack(attention)}
    if "labels" in batch:
        chosen = batch["labels"] != -100
        logits_s, logits_t = ours.logits[chosen], theirs.logits[chosen]
        p_t = (logits_t / losses.temperature).softmax(-1)
        log_s = (logits_s / losses.temperature).log_softmax(-1)
        terms["logit"] = (p_t * (p_t.log() - log_s)).sum(-1).mean()
        terms["mlm"] = -logits_s.log_softmax(-1).gather(1, batch["labels"][chosen][:, None]).mean()
    return terms


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
