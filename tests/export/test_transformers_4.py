"""Test that transformers 4.57 and old sentence-transformers read what we save.

They must find the same tokens, and outputs that differ by at most 1e-5.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from export_folders import CLASSES, write_student, write_task_sft
from launch import PROGRAMS
from random_sfts import random_sft
from student_models import tiny_teacher
from tokenizer_kinds.other_tokenizers import every_tokenizer, wordpiece_tokenizer
from transformers import BertTokenizer

from bistil_ds import distil_general, export_model
from bistil_ds.embedding.settings import DenseLayer, SentenceSettings
from bistil_ds.embedding.vectors import encode
from bistil_ds.models.loading import load_language_model
from bistil_ds.models.tokenizer_folder import save_tokenizer
from bistil_ds.models.weight_files import hash_weights
from bistil_ds.student import build_student
from bistil_ds.tasks import find_task
from bistil_ds.tasks.data import TaskData
from bistil_ds.tasks.embed.embed import SentenceEmbedding
from bistil_ds.tasks.examples import Place, Question
from bistil_ds.tasks.models import load_task_model
from bistil_ds.tasks.prediction import predict

OLD = ("transformers==4.57.*", "huggingface_hub>=0.34,<1", "tokenizers>=0.22,<=0.23.0")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with transformers 4.57, to stand before the environment's own; torch is that of the latter."""
    return installed(tmp_path_factory.mktemp("transformers-4"), *OLD)


def installed(folder: Path, *packages: str) -> Path:
    """Install packages, without what they need, in a folder; skip the test where pip finds none."""
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *packages]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"pip has no {packages[0]} here: {done.stderr.strip().splitlines()[-1]}")
    return folder


def outputs(folders: dict[str, str], before: Path | None, target: Path) -> dict[str, Any]:
    """Return what `outputs_of_folders.py` finds for folder → class, with the packages in `before` first."""
    environment = {**os.environ, "PYTHONPATH": str(before or ""), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(PROGRAMS / "outputs_of_folders.py"), str(target)]
    words += [f"{folder}={kind}" for folder, kind in folders.items()]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    content: dict[str, Any] = json.loads(target.read_text())
    return content


def check_equal(folders: dict[str, str], old: Path, scratch: Path) -> None:
    ours, theirs = outputs(folders, None, scratch / "5.json"), outputs(folders, old, scratch / "4.json")
    assert theirs.pop("transformers").startswith("4.57.")
    assert not ours.pop("transformers").startswith("4.")
    for folder, found in ours.items():
        for what, value in found["tokenizer"].items():
            assert theirs[folder]["tokenizer"][what] == value, (folder, what)
        if (model := found["model"]) is None:
            continue
        again = theirs[folder]["model"]
        assert again["missing"] == again["mismatched"] == [], folder
        assert again["labels"] == model["labels"], folder
        assert again["outputs"].keys() == model["outputs"].keys(), folder
        for name, value in model["outputs"].items():
            torch.testing.assert_close(
                torch.tensor(again["outputs"][name]), torch.tensor(value), rtol=0, atol=1e-5, msg=f"{folder}: {name}"
            )


def test_tokenizers_of_every_class_cut_alike(old: Path, tmp_path: Path) -> None:
    for name, tokenizer in every_tokenizer().items():
        save_tokenizer(tokenizer, tmp_path / name)
    check_equal({str(tmp_path / name): "" for name in every_tokenizer()}, old, tmp_path)


def test_students_give_the_same_logits(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path / "cache"))
    source, target = tiny.write_texts(tmp_path)
    words, pieces = wordpiece_tokenizer(), tiny.unigram_tokenizer()
    cased = BertTokenizer(vocab=words.get_vocab(), do_lower_case=False)
    for kind, tokenizer in (("bert", cased), ("xlm-roberta", pieces)):
        for tied in (True, False):
            size = len(tokenizer)
            model = tiny_teacher(kind, layers=2, vocab_size=size, tie_word_embeddings=tied, pad_token_id=1)
            model.save_pretrained(tmp_path / f"{kind} {tied}")
            tokenizer.save_pretrained(tmp_path / f"{kind} {tied}")
    flags = {"source_language": "aa", "target_language": "bb", "source_file": str(source), "target_file": str(target)}
    flags |= {"max_steps": 2, "max_length": 16, "per_device_train_batch_size": 2, "report_to": "none"}
    students = {
        str(distil_general(teacher_model=str(tmp_path / teacher), output_dir=str(tmp_path / name), **flags, **more))
        for name, teacher, more in (
            ("BERT", "bert True", {}),
            ("XLM-R", "xlm-roberta True", {}),
            ("narrow", "xlm-roberta True", {"hidden_reduction_factor": 2}),
            ("BERT, not tied", "bert False", {"mlm_weight": 1.0}),
            ("XLM-R, not tied", "xlm-roberta False", {"mlm_weight": 1.0}),
        )
    }
    check_equal(dict.fromkeys(sorted(students), "AutoModelForMaskedLM"), old, tmp_path)


def test_modernbert_models_give_the_same_states_or_none(old: Path, tmp_path: Path) -> None:
    rope = {kind: {"rope_type": "default", "rope_theta": 160.0} for kind in ("full_attention", "sliding_attention")}
    tokenizer = tiny.unigram_tokenizer()
    sizes = {"vocab_size": len(tokenizer), "pad_token_id": 1, "local_attention": 4, "max_position_embeddings": 80}
    tiny_teacher("modernbert", layers=6, rope_parameters=rope, **sizes).save_pretrained(tmp_path / "base")
    teacher = load_language_model(tmp_path / "base")
    students = {str(layers): build_student(teacher, layer_map=layers).student for layers in ([0, 1, 3, 5], [0, 3, 5])}
    for name, model in {"again": teacher, **students}.items():
        model.save_pretrained(tmp_path / name)
        save_tokenizer(tokenizer, tmp_path / name)
    check_equal({str(tmp_path / name): "AutoModelForMaskedLM" for name in ("again", "[0, 1, 3, 5]")}, old, tmp_path)
    with pytest.raises(AssertionError, match=r"TypeError.*NoneType"):  # these layers have no period
        outputs({str(tmp_path / "[0, 3, 5]"): "AutoModelForMaskedLM"}, old, tmp_path / "4.json")


def test_exported_models_of_every_task_give_the_same_outputs(old: Path, tmp_path: Path) -> None:
    student = write_student(tmp_path / "student")
    classes = {**CLASSES, "dp": "AutoModel"}
    for task in classes:
        export_model(student, [write_task_sft(tmp_path / f"{task} sft", student, task)], output_dir=tmp_path / task)
    check_equal({str(tmp_path / task): kind for task, kind in classes.items()}, old, tmp_path)


def ask(questions: list[dict[str, Any]], scratch: Path, *before: Path) -> list[Any]:
    """Return what `read_elsewhere.py` finds with the packages in the folders `before`."""
    (scratch / "asked.json").write_text(json.dumps(questions))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, before)), "HF_HUB_OFFLINE": "1"}
    words = [
        sys.executable,
        str(PROGRAMS / "read_elsewhere.py"),
        str(scratch / "asked.json"),
        str(scratch / "found.json"),
    ]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[Any] = json.loads((scratch / "found.json").read_text())
    return found


def test_answers_of_the_pipeline_are_ours(old: Path, tmp_path: Path) -> None:
    student = write_student(tmp_path / "student")
    folder = export_model(student, [write_task_sft(tmp_path / "sft", student, "qa")], output_dir=tmp_path / "out")
    lines = tiny.text_lines("aa", 8, seed=2)
    questions = [
        Question(str(i), one, other, ((other[:2], 0),), Place("here", i))
        for i, (one, other) in enumerate(pairwise(lines))
    ]
    loaded = load_task_model(str(folder), task=find_task("qa"))
    rows = loaded.task.features(questions, loaded.tokenizer, loaded.labels, 64, training=False)
    data = TaskData(loaded.task, None, "here", list(questions), rows)
    expected = predict(loaded.model, data, loaded.labels, batch_size=4, device=torch.device("cpu"), pad_token_id=1)
    asked = [{"folder": str(folder), "question": one.question, "context": one.context} for one in questions]
    assert [found.strip() for found in ask(asked, tmp_path, old)] == expected


@pytest.mark.parametrize("version", ["3.0.*", "5.1.*"])
def test_older_sentence_transformers_give_our_vectors(old: Path, tmp_path: Path, version: str) -> None:
    before = installed(tmp_path / "packages", f"sentence-transformers=={version}", "datasets==3.6.*")
    settings = SentenceSettings(
        ("cls", "mean"), prompts={"query": "ba: "}, max_length=20, dense=(DenseLayer(32, 24, activation="Tanh"),)
    )
    student = write_student(tmp_path / "student")
    model = SentenceEmbedding(settings).load_model(student, ())
    facts = {"base_model": str(student), "base_hash": hash_weights(student), "labels": [], "task": "embed"}
    random_sft(model, 0, **facts, sentence=settings.as_dict()).save(tmp_path / "sft")
    folder = export_model(student, [tmp_path / "sft"], output_dir=tmp_path / "out")
    loaded, texts = load_task_model(str(folder), task=find_task("embed")), [*tiny.text_lines("aa", 6), "ba"]
    expected = encode(loaded.model, loaded.tokenizer, texts, prompt="ba: ")
    found = ask([{"folder": str(folder), "texts": texts, "prompt": "query"}], tmp_path, before, old)[0]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-5, atol=1e-5)
