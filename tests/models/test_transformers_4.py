"""Test what transformers 4 reads in the configuration of ModernBERT models.

`tests/export/test_transformers_4.py` loads such models with transformers 4.57.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from student_models import tiny_teacher

from bistil_ds.models.loading import load_language_model
from bistil_ds.student import build_student

THETAS = {"full_attention": 5e4, "sliding_attention": 7e4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model of 12 layers, every third of which is global, as transformers 5 saves it."""
    place = tmp_path_factory.mktemp("modernbert")
    rope = {kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in THETAS.items()}
    tiny_teacher("modernbert", layers=12, rope_parameters=rope).save_pretrained(place)
    return place


def test_the_bases_of_the_rotary_positions_are_written_for_both(folder: Path, tmp_path: Path) -> None:
    load_language_model(folder).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert {kind: rope["rope_theta"] for kind, rope in written["rope_parameters"].items()} == THETAS
    assert (written["global_rope_theta"], written["local_rope_theta"]) == (5e4, 7e4)
    assert written["global_attn_every_n_layers"] == 3


@pytest.mark.parametrize(
    ("layer_map", "period"),
    [
        ([0, 2, 3, 5, 6, 11], 2),
        ([0, 3, 11], None),
        ([0, 9, 11], None),
        ([0, 3, 6, 11], None),
        ([0, 10, 11], 3),
        ([0, 1, 3, 4, 5, 11], None),
    ],
)
def test_the_period_of_global_layers_is_true_or_absent(
    folder: Path, tmp_path: Path, layer_map: list[int], period: int | None
) -> None:
    build_student(load_language_model(folder), layer_map=layer_map).student.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["global_attn_every_n_layers"] == period


def test_positions_that_transformers_4_cannot_scale_leave_no_period(folder: Path) -> None:
    config = load_language_model(folder).config
    assert config.global_attn_every_n_layers == 3
    config.rope_parameters["full_attention"] |= {"rope_type": "linear", "factor": 2.0}
    config.save_pretrained(folder / "scaled")
    (folder / "scaled" / "model.safetensors").symlink_to(folder / "model.safetensors")
    assert load_language_model(folder / "scaled").config.global_attn_every_n_layers is None
