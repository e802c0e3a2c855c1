"""Compute the bytes that a rank holds and sends under DeepSpeed ZeRO, in bf16 with fp32 master weights and AdamW.

Bytes for each parameter: weights 2, bf16 gradients 2, fp32 gradients 4, master weights 4, moments 8; 20 in all.
"""

from __future__ import annotations

from dataclasses import dataclass

GPUS_A_NODE = 8
MODES = ("0", "1", "2", "3", "2 offload", "3 offload")  # ZeRO stages, without and with offload to host memory


@dataclass(frozen=True)
class Bytes:
    """Bytes on each device, and in the host memory of each node."""

    device: float
    host: float


def state_bytes(mode: str, parameters: int, largest_layer: int, ranks: int) -> Bytes:
    """Return the bytes of weights, gradients and optimizer state of a model under training.

    For ZeRO stages 2 and 3 these are DeepSpeed's own estimates. DeepSpeed has none for stages 0 and 1, so we count in
    the same way: stage 0 partitions nothing, stage 1 partitions master weights, moments and fp32 gradients.

    Args:
        mode: one of `MODES`.
        largest_layer: number of parameters of the largest module that stage 3 gathers at once.
    """
    if mode in ("0", "1"):
        return Bytes((2 + 2) * parameters + 16 * parameters / (ranks if mode == "1" else 1), 0.0)
    nodes = max(1, ranks // GPUS_A_NODE)
    shape = {"num_gpus_per_node": min(ranks, GPUS_A_NODE), "num_nodes": nodes, "cpu_offload": "offload" in mode}
    if mode.startswith("2"):
        from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

        host, device = estimate_zero2_model_states_mem_needs(parameters, **shape)
    else:
        from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs

        shape["cpu_offload_params"] = shape["cpu_offload"]
        host, device, _ = estimate_zero3_model_states_mem_needs(parameters, largest_layer, **shape)
    return Bytes(device, host if "offload" in mode else 0.0)


def teacher_bytes(mode: str, parameters: int, largest_layer: int, ranks: int) -> float:
    """Return the bytes of the bf16 teacher on each device: all or, at stage 3, a part and one gathered layer."""
    if not mode.startswith("3"):
        return 2.0 * parameters
    return 2.0 * parameters / ranks + 2.0 * largest_layer * (ranks > 1)


def sent_bytes(mode: str, student: int, teacher: int, ranks: int) -> float:
    """Return the bytes that each rank sends, and receives, by ring collectives in a step without accumulation.

    Over N ranks, a reduce-scatter or an all-gather of n bytes sends (N − 1) / N · n bytes; an all-reduce sends twice as
    many. Stage 0 all-reduces gradients. With DeepSpeed's defaults, stages 1 and 2 all-reduce gradients too, and then
    all-gather the new weights. Stage 3 all-gathers weights in forward and again in backward, reduce-scatters gradients,
    and all-gathers the teacher's weights once. Stage 3 sends less if DeepSpeed keeps gathered weights from forward to
    backward. It keeps those that are used again within `stage3_max_reuse_distance` parameters (default: 1e9).
    """
    share = (ranks - 1) / ranks
    if not mode.startswith("3"):
        return share * (2 if mode == "0" else 3) * 2.0 * student
    return share * (3 * 2.0 * student + 2.0 * teacher)
