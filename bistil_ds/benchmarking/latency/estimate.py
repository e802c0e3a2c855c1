"""Estimate how long a latency run will take, before any model is built."""

from __future__ import annotations

import torch
from transformers import AutoModel

from bistil_ds.benchmarking.latency.measure import turn_size
from bistil_ds.benchmarking.models.plan import MeasurementPlan
from bistil_ds.benchmarking.models.shapes import config_of
from bistil_ds.benchmarking.models.subject import LONG_CALL, InputCase, parameter_counts
from bistil_ds.training.speed import matmul_rate

START_SECONDS, SECONDS_PER_PARAMETER = 2.0, 1.5e-8  # to start a process, and to draw one weight
WARM_UP, LONG_WARM_UP = 6, 3  # calls in the warm-up of a model with short calls, and with long ones
TEXT_LENGTH = 32  # tokens assumed in a sentence of --text_file


def estimate_seconds(plan: MeasurementPlan) -> float:
    """Return the larger of `plan.seconds` and the estimated seconds of the shortest run that `plan` allows.

    The shortest run starts and warms up every model and measures `plan.fewest_rounds` rounds. The estimated time of a
    call is its operations divided by the rate of a matrix product, which is measured here. A call has two operations
    for each token and parameter of the layers. The time to compile or export a model is unknown and left out.
    """
    counts = {label: _counts(name) for label, name in plan.names().items()}
    rate = matmul_rate(plan.device, torch.float32)  # with all threads
    starting = sum(START_SECONDS + SECONDS_PER_PARAMETER * found["parameters"] for found in counts.values())
    most = max(case.threads for case in plan.cases)
    least = 0.0
    for case in plan.cases:
        for found in counts.values():
            call = _operations(found, case) / rate * most / case.threads
            timed, untimed = turn_size(call)
            warming = call * (LONG_WARM_UP if call > LONG_CALL else WARM_UP)
            least += plan.fewest_rounds * (timed + untimed) * call + warming
    return max(plan.seconds, len(plan.settings) * (starting + least))


def _counts(name: str) -> dict[str, int]:
    with torch.device("meta"):
        return parameter_counts(AutoModel.from_config(config_of(name)))


def _operations(counts: dict[str, int], case: InputCase) -> float:
    return 2.0 * counts["encoder_parameters"] * case.batch * (case.length or TEXT_LENGTH)
