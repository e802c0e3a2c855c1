"""Test phase 1 of a teacher in a sentence-transformers folder: the student works in the real sentence-transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file
from student_models import tiny_config
from transformers import AutoModel, AutoTokenizer

from bistil_ds import distil_general
from bistil_ds.distillation import preparation
from bistil_ds.distillation.checks import check_modules, check_teacher
from bistil_ds.distillation.from_flags import request_of
from bistil_ds.errors import InputError
from bistil_ds.models.sentence_folder import copy_sentence_files

TEXTS = ["bake lomi sutaren.", "ken.", "lovor bamike tasu mi."]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 150)
    tiny.write_sentence_folder(folder / "teacher", "0_Transformer", layers=2)
    return folder


def flags(material: Path, **changes: Any) -> dict[str, Any]:
    texts = {language: str(material / f"{language}.txt") for language in tiny.SYLLABLES}
    quick = {"max_steps": 1, "eval_strategy": "no", "eval_on_start": False, "load_best_model_at_end": False}
    quick |= {"save_strategy": "no", "report_to": "none"}
    return {"teacher_model": str(material / "teacher"), "text": texts, "max_length": 32, **quick, **changes}


def test_the_student_gives_the_vectors_of_its_teachers_pooling(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path / "cache"))
    student = distil_general(**flags(material, output_dir=str(tmp_path / "run")))
    assert json.loads((student / "config_sentence_transformers.json").read_text()) == tiny.PROMPTS
    real = sentence_transformers.SentenceTransformer(str(student), device="cpu")
    model, tokenizer = AutoModel.from_pretrained(student), AutoTokenizer.from_pretrained(student)
    dense = load_file(material / "teacher" / "2_Dense" / "model.safetensors")
    for prompt, chosen in (("query: ", {}), ("", {"prompt": ""})):  # the first is the default
        batch = tokenizer([prompt + text for text in TEXTS], padding=True, return_tensors="pt")
        with torch.no_grad():
            states_BTD, mask_BT1 = model(**batch).last_hidden_state, batch["attention_mask"][:, :, None]
        mean_BD = (states_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)
        expected_BE = torch.tanh(mean_BD @ dense["linear.weight"].T + dense["linear.bias"])
        found_BE = real.encode(TEXTS, convert_to_tensor=True, **chosen)
        torch.testing.assert_close(found_BE, torch.nn.functional.normalize(expected_BE), rtol=1e-5, atol=1e-5)
    real.save_pretrained(str(tmp_path / "saved"))  # in the layout of today's sentence-transformers
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "again")
    copy_sentence_files(tmp_path / "saved", tmp_path / "again", model.config)
    again = sentence_transformers.SentenceTransformer(str(tmp_path / "again"), device="cpu")
    assert torch.equal(again.encode(TEXTS, convert_to_tensor=True), real.encode(TEXTS, convert_to_tensor=True))


BROKEN = {
    "1_Pooling/config.json": "{",
    "2_Dense/config.json": "[]",
    "2_Dense/model.safetensors": "no weights",
    "0_Transformer/sentence_bert_config.json": "{",
    "config_sentence_transformers.json": "7",
}


@pytest.mark.parametrize("name", [*BROKEN, "without 1_Pooling/config.json", "without 2_Dense/model.safetensors"])
def test_a_broken_module_is_found_before_anything_is_built(
    name: str, material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(preparation, "build", None)
    teacher = shutil.copytree(material / "teacher", tmp_path / "teacher")
    if name in BROKEN:
        (teacher / name).write_text(BROKEN[name])
    else:
        (teacher / name.removeprefix("without ")).unlink()
    with pytest.raises(InputError, match=f"^--teacher_model .*{name.rpartition('/')[0].removeprefix('without ')}"):
        preparation.prepare(request_of(**flags(material, teacher_model=str(teacher), output_dir=str(tmp_path / "run"))))
    assert not (tmp_path / "run").exists()


def test_what_is_left_out_of_a_narrower_student_need_not_be_whole(material: Path, tmp_path: Path) -> None:
    teacher = shutil.copytree(material / "teacher", tmp_path / "teacher")
    (teacher / "2_Dense" / "model.safetensors").unlink()
    tiny_config("bert", hidden_size=16).save_pretrained(tmp_path / "student")
    for narrower in ({"hidden_reduction_factor": 2}, {"student": str(tmp_path / "student")}):
        asked = request_of(**flags(material, teacher_model=str(teacher), **narrower))
        check_modules(asked, check_teacher(asked))
