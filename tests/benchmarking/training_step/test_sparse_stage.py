"""Test the sparse stage's benchmark: its counts follow from the number of trained values."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from transformers import BertForTokenClassification

from benchmarks.sparse_stage import main
from bistil_ds.benchmarking.training_step.sparse import DENSE, StudentShape, TrainingStep, sparse_grids, sparse_values

SHAPE = StudentShape(batch=2, length=8, layers=2, width=32, heads=2, vocabulary=100)


@pytest.mark.parametrize("density", [None, 0.1])
def test_state_and_gradients_are_of_the_trained_values_alone(density: float | None) -> None:
    step = TrainingStep(SHAPE, density, "cpu")
    head = sum(parameter.numel() for parameter in step.model.classifier.parameters())
    base = dict(BertForTokenClassification(step.model.config).bert.named_parameters())
    maskable = sum(parameter.numel() for name, parameter in base.items() if "LayerNorm" not in name)
    step()
    trained = sum(parameter.numel() for parameter in step.trained)
    assert step.state_bytes() == 2 * 4 * trained
    assert step.gradient_bytes() == 4 * trained
    if density is None:
        assert trained == head + sum(parameter.numel() for parameter in base.values())
    else:
        assert trained - head == pytest.approx(density * maskable, abs=1)


def test_the_table_has_the_share_of_dense_training() -> None:
    ways = {DENSE: 100, "0.1": 10}
    rows = [
        {"way": way, "seconds": [1.0, 3.0, 2.0], "median": size / 100, "low": 0.0, "high": 1.0}
        | dict.fromkeys(("peak_bytes", "state_bytes", "reduced_bytes"), size * 2**20)
        for way, size in ways.items()
    ]
    content = {"rows": rows, "arguments": asdict(SHAPE), "device": "cpu"}
    (grid,) = sparse_grids(content)
    assert grid.rows[1] == ["10 %", "2.000", "0.100 (0.000 to 1.000)", *["10.0 (0.100)"] * 3]
    assert sparse_values(content)["0.1", "batch 2, length 8, s"] == ([[1.0], [3.0], [2.0]], 0.0)


@pytest.mark.parametrize(("flags", "said"), [(["--densities", "2"], "density"), (["--rounds", "0"], "--rounds 0")])
def test_bad_input_is_one_line(flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*flags, "--output_dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
