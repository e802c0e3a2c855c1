"""Test that a saved student has what transformers 4 reads; `tests/export/test_transformers_4.py` loads it there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from datasets import Dataset
from distilling.trainers import Make
from safetensors.torch import load_file
from student_models import tiny_teacher
from tokenizer_kinds.other_tokenizers import wordpiece_tokenizer

from bistil_ds.distillation.arguments import DistillationArguments
from bistil_ds.distillation.trainer import DistillationTrainer
from bistil_ds.student import build_student


@pytest.mark.parametrize(("kind", "head"), [("bert", "cls.predictions"), ("xlm-roberta", "lm_head")])
def test_the_output_bias_of_an_untied_head_stands_under_both_its_names(kind: str, head: str, tmp_path: Path) -> None:
    tokenizer = wordpiece_tokenizer() if kind == "bert" else tiny.unigram_tokenizer()
    teacher = tiny_teacher(kind, layers=2, vocab_size=len(tokenizer), tie_word_embeddings=False)
    built = build_student(teacher, progress=False)
    arguments = DistillationArguments(output_dir=str(tmp_path), max_steps=1, report_to="none")
    ids = Dataset.from_dict({"input_ids": [[5, 6, 7, 8]] * 8})
    trainer = DistillationTrainer(
        built.student,
        teacher,
        arguments,
        layer_map=built.layer_map,
        train_dataset={"aa": ids, "bb": ids},
        processing_class=tokenizer,
    )
    decoder = built.student.get_output_embeddings().bias
    assert not decoder.equal(built.student.get_parameter(f"{head}.bias"))
    trainer.save_model(str(tmp_path / "student"))
    saved = load_file(tmp_path / "student" / "model.safetensors")
    assert saved[f"{head}.bias"].equal(decoder)
    assert saved[f"{head}.decoder.bias"].equal(decoder)
    config = json.loads((tmp_path / "student" / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_a_saved_student_needs_nothing_of_ours(make: Make, tmp_path: Path) -> None:
    beside = tmp_path / "kept_ids.json"
    beside.write_text("{}")
    trainer = make(keep={"keep_files": [beside]})
    trainer.train()
    folder = tmp_path / "student"
    trainer.save_model(str(folder))
    assert (folder / "kept_ids.json").read_text() == "{}"
    assert not list(folder.rglob("*.bin"))
    assert not list((tmp_path / "run").rglob("training_args.bin"))
    code = """
        import json, sys
        sys.modules["bistil_ds"] = sys.modules["bistil_kernels"] = None
        from transformers import AutoModelForMaskedLM, AutoTokenizer
        model, tokenizer = (kind.from_pretrained(sys.argv[1]) for kind in (AutoModelForMaskedLM, AutoTokenizer))
        logits = model(**tokenizer("bake lomi", return_tensors="pt")).logits
        print(json.dumps([model.config._attn_implementation, logits[0, 1].tolist()]))
    """
    words = [sys.executable, "-c", "\n".join(line[8:] for line in code.splitlines()), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    attention, row = json.loads(done.stdout.splitlines()[-1])
    ids = trainer.processing_class("bake lomi", return_tensors="pt")
    assert attention == "sdpa"
    with torch.no_grad():
        torch.testing.assert_close(torch.tensor(row), trainer.model.eval()(**ids).logits[0, 1], rtol=1e-4, atol=1e-4)
