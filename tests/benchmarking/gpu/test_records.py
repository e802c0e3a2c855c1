"""Test that what another benchmark could not measure is a failure of the GPU run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from bistil_ds.benchmarking.gpu import records
from bistil_ds.benchmarking.gpu.parts import PARTS
from bistil_ds.benchmarking.gpu.running import new_row
from bistil_ds.benchmarking.gpu.setting import Emit, Setting
from bistil_ds.benchmarking.gpu.tables import failures

REASON = "ValueError: Expected a torch.device with a specified index"


@pytest.mark.parametrize(
    ("benchmark", "row", "line"),
    [
        ("memory", {"model": "toy", "inference": {"peak": 1}, "training": {"unavailable": REASON}}, "toy, training: "),
        ("latency", {"engine": "eager", "dtype": "float32", "unavailable": f"toy: {REASON}"}, "toy: "),
    ],
)
def test_a_model_that_could_not_be_measured_is_a_failure(
    benchmark: str, row: dict[str, Any], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*arguments: Any) -> None:
        content = next(each for each in arguments if isinstance(each, dict))
        content["rows"].append(row)

    monkeypatch.setattr(f"bistil_ds.benchmarking.{benchmark}.flags.measure", measure)
    findings: list[Any] = []
    setting = Setting(True, time.monotonic() + 60, tmp_path, tmp_path)
    run = {"memory": records._memory, "latency": records._latency}[benchmark]
    run(setting, Emit(findings.append, lambda name: None), [records.toy_model(tmp_path)])
    assert failures({"rows": [{**new_row(PARTS[5]), "findings": findings}]}) == [f"part f: {line}{REASON}"]
