"""Compute the bytes that a rank holds and sends under DeepSpeed ZeRO, in bf16 with fp32 master weights and fused AdamW.

A rank holds these bytes for each parameter all the time, whole or its share: weights 2, master weights 4, moments 8;
at stage 3 bf16 gradients 2. More is there at the end of backward, and in the update, which begins with the gradients'
share in bf16, a flat copy of it (but for stage 0), and that in fp32: 2 + 2 + 4. Such a peak of either kind counts.
`zero_check` measures all of this.
"""

from __future__ import annotations

from dataclasses import dataclass

GPUS_A_NODE = 8
MODES = ("0", "1", "2", "3", "2 offload", "3 offload")  # ZeRO stages, without and with offload to host memory
BUCKET = 500_000_000  # gradients that stage 0 copies to reduce them together: DeepSpeed's default
LIVE = 1_000_000_000  # parameters that stage 3 keeps gathered from forward to backward, by DeepSpeed's defaults
GROUP = 1_000_000_000  # parameters that stage 3 updates at once, likewise


@dataclass(frozen=True)
class Bytes:
    """Bytes on each device at the end of backward and in the update, and in the host memory of each node."""

    backward: float
    update: float
    host: float = 0.0

    def most(self, activations: float = 0.0) -> float:
        """Return the most bytes on a device; activations are there in backward only."""
        return max(self.backward + activations, self.update)


def state_bytes(mode: str, parameters: int, largest_layer: int, ranks: int) -> Bytes:
    """Return the bytes of weights, gradients and optimizer state of a model under training.

    With offload these are DeepSpeed's own estimates, which nothing here has checked.

    Args:
        mode: one of `MODES`.
        largest_layer: number of parameters of the largest module. In backward, its gradient is there twice for a
            moment, and stage 3 gathers its weights.
    """
    if "offload" in mode:
        return _offloaded(mode, parameters, largest_layer, ranks)
    share = parameters / ranks
    moment = 4.0 * largest_layer
    if mode == "0":
        return Bytes(16.0 * parameters + 2.0 * min(parameters, BUCKET) + moment, 20.0 * parameters)
    if mode in ("1", "2"):
        whole = 4.0 if mode == "1" else 2.0  # bf16 gradients are whole at stage 1
        return Bytes(whole * parameters + 14.0 * share + moment, 2.0 * parameters + 20.0 * share)
    gathered = 2.0 * min(parameters, LIVE) if ranks > 1 else 0.0
    return Bytes(16.0 * share + gathered + moment, 16.0 * share + 6.0 * min(share, GROUP))


def _offloaded(mode: str, parameters: int, largest_layer: int, ranks: int) -> Bytes:
    shape = {"num_gpus_per_node": min(ranks, GPUS_A_NODE), "num_nodes": max(1, ranks // GPUS_A_NODE)}
    if mode.startswith("2"):
        from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

        host, device = estimate_zero2_model_states_mem_needs(parameters, cpu_offload=True, **shape)
    else:
        from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs

        host, device, _ = estimate_zero3_model_states_mem_needs(
            parameters, largest_layer, cpu_offload=True, cpu_offload_params=True, **shape
        )
        device += 2 * min(parameters, LIVE)
    return Bytes(device, device, host)


def teacher_bytes(mode: str, parameters: int, largest_layer: int, ranks: int) -> float:
    """Return the bytes of the bf16 teacher on each device: all or, at stage 3, a part and one gathered layer."""
    if not mode.startswith("3"):
        return 2.0 * parameters
    return 2.0 * parameters / ranks + 2.0 * largest_layer * (ranks > 1)


def sent_bytes(mode: str, student: int, teacher: int, ranks: int) -> float:
    """Return the bytes that each rank sends, and receives, by ring collectives in a step without accumulation.

    Over N ranks, a reduce-scatter or an all-gather of n bytes sends (N − 1) / N · n bytes; an all-reduce sends twice as
    many. Stage 0 all-reduces gradients. With DeepSpeed's defaults, stages 1 and 2 all-reduce gradients too, and then
    all-gather the new weights. Stage 3 all-gathers weights in forward, and again in backward those beyond the LIVE
    parameters that it kept; it reduce-scatters gradients, and all-gathers the teacher's weights once.
    """
    share = (ranks - 1) / ranks
    if not mode.startswith("3"):
        return share * (2 if mode == "0" else 3) * 2.0 * student
    again = max(student - LIVE, 0)
    return share * 2.0 * (2 * student + again + teacher)
