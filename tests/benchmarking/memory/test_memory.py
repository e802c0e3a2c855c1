"""Test the memory of whole models: what is counted, what is compared, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import write_teacher, xlmr
from transformers import AutoModel

from benchmarks.memory import main
from bistil_ds.benchmarking.harness.peak_memory import Peak
from bistil_ds.benchmarking.memory.measure import bytes_needed, folder_bytes, stage_bytes
from bistil_ds.benchmarking.memory.tables import memory_grids, memory_plots
from bistil_ds.benchmarking.models.shapes import config_of, default_names, load_encoder, reference_of
from bistil_ds.benchmarking.models.subject import parameter_counts

PARAMETERS = {  # millions, without pooler and vocabulary head; the numbers of the two MMTs are the published ones
    "XLM-R-base": 277.45,
    "mBERT": 177.26,
    "DistilmBERT": 134.73,
    "mMiniLM-L12-H384": 117.50,
    "mMiniLM-L6-H384": 106.85,
    "mBERT k2 30k": 65.96,
    "XLM-R-base k3 60k": 74.83,
}


@pytest.mark.parametrize(("name", "millions"), PARAMETERS.items())
def test_shapes_have_the_parameters_of_the_models_they_stand_for(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = AutoModel.from_config(config_of(name))
    model.pooler = None
    assert parameter_counts(model)["parameters"] / 1e6 == pytest.approx(millions, abs=0.01)


def test_embeddings_and_layers_add_up() -> None:
    counts = parameter_counts(xlmr(100, layers=2, width=8).base_model)
    assert counts["embedding_parameters"] == 8 * (100 + 66 + 1) + 2 * 8
    assert counts["embedding_parameters"] + counts["encoder_parameters"] == counts["parameters"]


def test_a_model_without_an_embeddings_module_counts_its_tables() -> None:
    counts = parameter_counts(torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Linear(4, 4)))
    assert counts == {"parameters": 60, "embedding_parameters": 40, "encoder_parameters": 20}


@pytest.mark.parametrize(("dtype", "inference", "training"), [("float32", 40, 160), ("bfloat16", 20, 80)])
def test_weights_gradients_and_moments_have_the_dtype_of_the_weights(dtype: str, inference: int, training: int) -> None:
    assert bytes_needed("inference", 10, dtype) == inference
    assert bytes_needed("training", 10, dtype) == training


def test_every_model_is_compared_with_its_mmt() -> None:
    names = default_names()
    assert len(names) == 13
    assert reference_of("XLM-R-base k2 30k", names) == "XLM-R-base"
    assert reference_of("DistilmBERT", names) == reference_of("mBERT", names) == "mBERT"
    assert reference_of("my/model", ["your/model", "my/model"]) == "your/model"
    assert reference_of("mBERT k2 30k", ["mBERT k3 30k", "mBERT k2 30k"]) == "mBERT k3 30k"


def test_a_model_is_loaded_without_pooler_and_head(tmp_path: Path) -> None:
    model = load_encoder(str(write_teacher(tmp_path)))
    assert model.pooler is None
    assert not model.training
    assert "lm_head" not in " ".join(name for name, _ in model.named_parameters())


def test_the_libraries_are_subtracted() -> None:
    assert stage_bytes(Peak(empty=100, baseline=160, peak=190, build_seconds=1)) == {
        "loaded": 60,
        "peak": 90,
        "reserved": None,
    }


def test_the_command_measures_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [write_teacher(tmp_path / f"{w} wide", width=w, layers=8) for w in (384, 64)]
    flags = ["--batch", "4", "--length", "32", "--output_dir", str(tmp_path / "out")]
    assert main(["--model", *map(str, folders), *flags]) == 0
    (path,) = (tmp_path / "out").glob("*.json")
    wide, narrow = json.loads(path.read_text())["rows"]
    weights = 4 * wide["parameters"]
    assert narrow["reference"] == "384 wide"
    assert wide["folder_bytes"] == folder_bytes(folders[0])
    assert wide["inference"]["loaded"] > 0.9 * weights
    assert wide["training"]["peak"] > 3.5 * weights  # weights, gradients and two moments
    assert narrow["training"]["peak"] < 0.5 * wide["training"]["peak"]
    assert len(wide["load_seconds"]) == 2
    assert "64 wide" in capsys.readouterr().out


def test_a_stage_that_could_not_be_measured_says_why_in_the_table() -> None:
    sizes = {"parameters": 2, "embedding_parameters": 1, "encoder_parameters": 1, "folder_bytes": 8}
    stages: dict[str, Any] = {"inference": {"peak": 2**20}, "training": {"unavailable": "needs more than 9.0 GB"}}
    row = {"model": "a", "reference": "a", **sizes, "load_seconds": [], **stages}
    half = {**row, "model": "b", "inference": {"peak": 2**19}}
    given = {"batch": 1, "length": 2, "dtype": "float32"}
    content = {"rows": [row, half], "arguments": given, "device": "cpu"}
    (grid,) = memory_grids(content)
    assert "a, training: needs more than 9.0 GB" in grid.note
    assert grid.rows[0][-1] == "unavailable"
    assert "(0.50)" in grid.rows[1][-2]
    assert len(memory_plots(content)) == 1
