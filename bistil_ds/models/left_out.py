"""Say what phase 1 leaves out with a teacher of a kind, for the record, the log and the model card."""

from __future__ import annotations

from transformers import PretrainedConfig, PreTrainedModel

from bistil_ds.models.families import FAMILIES, has_masked_lm_head
from bistil_ds.models.loading import is_masked_lm

UNOBSERVABLE = tuple(kind for kind, family in FAMILIES.items() if not family.maps_observable)


def left_out(teacher: PretrainedConfig | PreTrainedModel) -> list[str]:
    """Return a line for each thing that phase 1 leaves out with this teacher; none if it leaves out nothing.

    Args:
        teacher: the configuration of its folder, which also tells of a head that is dropped, or the model.
    """
    if isinstance(teacher, PreTrainedModel):
        config, kind, has_head = teacher.config, type(teacher).__name__, has_masked_lm_head(teacher)
    else:
        config, kind, has_head = (
            teacher,
            (teacher.architectures or ["a masked language model"])[0],
            is_masked_lm(teacher),
        )
    lines = []
    if not has_head:
        lines.append(f"logit and MLM losses: {kind} has no masked-LM head")
    if not has_head and "For" in kind:
        lines.append(f"the head of {kind}")
    if config.model_type in UNOBSERVABLE:
        lines.append(f"attention loss: the attention maps of {config.model_type} cannot be observed")
    return lines
