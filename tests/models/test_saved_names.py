"""Test that weights are saved under the names that they have in the model, and that every way back is the same.

Of GTE and jina, transformers by itself writes the fused weights of the original repositories.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from student_models import KINDS, tiny_teacher
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification

from bistil_ds.models.loading import load_pretrained
from bistil_ds.models.parameters import saved_parameters
from bistil_ds.models.weight_files import hash_weights
from bistil_ds.student import build_student


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("auto", [AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification])
def test_a_loaded_model_and_its_folder_have_the_same_names_and_hash(kind: str, auto: type, tmp_path: Path) -> None:
    made = tiny_teacher(kind, layers=2, auto=auto)
    made.save_pretrained(tmp_path / "made")
    loaded, _ = load_pretrained(auto, tmp_path / "made")
    assert all(torch.equal(value, made.state_dict()[name]) for name, value in loaded.state_dict().items())
    loaded.save_pretrained(tmp_path / "ours")
    assert load_file(tmp_path / "ours" / "model.safetensors").keys() == saved_parameters(loaded).keys()
    assert hash_weights(loaded) == hash_weights(tmp_path / "ours")
    plain = auto.from_pretrained(tmp_path / "ours")
    assert all(torch.equal(value, made.state_dict()[name]) for name, value in plain.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_too(kind: str, tmp_path: Path) -> None:
    student = build_student(tiny_teacher(kind, layers=4)).student
    student.save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == saved_parameters(student).keys()
