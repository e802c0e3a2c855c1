"""Run `general.py` with the given flags, `--dry_run` among them; print the bytes that rank 0 holds after the steps.

`test_dry_run.py` starts this program on several ranks.
"""

from __future__ import annotations

import json
import sys
from typing import Any
from unittest.mock import patch

from bistil_ds.commands import general
from bistil_ds.distributed import startup
from bistil_ds.training.estimate.first_steps import FirstSteps

on_train_end = FirstSteps.on_train_end


def print_held(self: FirstSteps, *args: Any, **kwargs: Any) -> None:
    on_train_end(self, *args, **kwargs)
    parameters = self.trainer.model.parameters()
    engine: Any = self.trainer.model_wrapped
    zero, adam = engine.optimizer, engine.optimizer.optimizer
    # ZeRO-3 keeps the fp32 copies here and gives them to AdamW only during a step
    copies = getattr(zero, "fp32_partitioned_groups_flat", None)
    if copies is None:
        copies = [parameter for group in adam.param_groups for parameter in group["params"]]
    moments = [tensor for one in adam.state.values() for tensor in one.values() if tensor.numel() > 1]
    held = {
        "weights": sum(getattr(one, "ds_tensor", one).nbytes for one in parameters),
        "optimizer": sum(tensor.nbytes for tensor in [*copies, *moments]),
    }
    if startup.rank() == 0:
        print(f"held {json.dumps(held)}", flush=True)


if __name__ == "__main__":
    with patch.object(FirstSteps, "on_train_end", print_held):
        raise SystemExit(general.main(sys.argv[1:]))
