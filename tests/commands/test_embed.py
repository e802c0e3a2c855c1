"""Test task.py --task embed as a user runs it: a tiny student learns the vectors of a tiny teacher."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from launch import run_script
from safetensors.torch import save_file
from tiny import SYLLABLES, text_lines, write_sentence_folder, write_teacher, write_texts
from transformers import AutoModelForMaskedLM, AutoTokenizer

from bistil_ds import distil_task
from bistil_ds.commands import task, teacher
from bistil_ds.embedding.encoder import SentenceEncoder
from bistil_ds.embedding.settings import KEY, DenseLayer, SentenceSettings
from bistil_ds.embedding.vectors import encode
from bistil_ds.models.weight_files import SINGLE_FILE
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.student import build_student, save_projections
from bistil_ds.student.folder import write_alignment
from bistil_ds.tasks import find_task
from bistil_ds.tasks.embed.scores import compare
from bistil_ds.tasks.models import LoadedTaskModel, load_task_model
from bistil_ds.training import speed
from bistil_ds.tuning.building import prepare_student
from bistil_ds.tuning.trainer import TaskTrainer

QUICK = [
    *["--per_device_train_batch_size", "8", "--learning_rate", "1e-3", "--report_to", "none", "--disable_tqdm", "true"],
    *["--sparse_max_steps", "4", "--eval_strategy", "steps", "--eval_steps", "2", "--save_strategy", "steps"],
    *["--save_steps", "2", "--max_length", "32", "--task", "embed"],
]
POOLED = ["--pooling", "mean", "--prompt", "ba: "]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the teacher `mmt`, texts, and two students: `student` of two layers, and `narrow` of half the width too."""
    folder = tmp_path_factory.mktemp("material")
    write_teacher(folder / "mmt")
    write_texts(folder)
    mmt = AutoModelForMaskedLM.from_pretrained(folder / "mmt")
    tokenizer = AutoTokenizer.from_pretrained(folder / "mmt")
    lines = [line for language in SYLLABLES for line in text_lines(language, 32)]
    sample = [dict(tokenizer(lines, padding=True, return_tensors="pt"))]
    for name, factor in (("student", 1), ("narrow", 2)):
        built = build_student(mmt, hidden_reduction_factor=factor, sample_batches=sample, progress=False)
        built.student.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        write_alignment(folder / name, teacher="mmt", languages=["aa", "bb"], layer_map=built.layer_map)
        if built.projections is not None:
            save_projections(folder / name, built.projections)
    return folder


def flags(material: Path, output_dir: Path, *more: str, student: str = "student") -> list[str]:
    models = ["--student", str(material / student), "--teacher_model", str(material / "mmt")]
    texts = ["--train_file", *(f"{language}={material / language}.txt" for language in SYLLABLES)]
    return [*QUICK, *models, *texts, *POOLED, "--output_dir", str(output_dir), *more]


@pytest.fixture(scope="module")
def run(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run with both stages and parallel text."""
    folder = tmp_path_factory.mktemp("runs") / "sparse"
    pairs = f"aa-bb={material / 'aa.txt'},{material / 'bb.txt'}"
    assert task.main(flags(material, folder, "--full_max_steps", "2", "--parallel_file", pairs)) == 0
    return folder


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


def like_the_teacher(material: Path, *models: LoadedTaskModel) -> list[float]:
    texts = text_lines("aa", 40, seed=7)
    task = find_task("embed").configured(pooling=["mean"], prompt=["ba: "])
    mmt = load_task_model(str(material / "mmt"), (), task)
    theirs = encode(mmt.model, mmt.tokenizer, texts)
    return [compare(encode(one.model, one.tokenizer, texts), theirs)["cosine"] for one in models]


def test_a_fine_tuning_says_how_its_model_makes_vectors_and_comes_closer_to_the_teacher(
    material: Path, run: Path
) -> None:
    sft = SparseFineTuning.load(run)
    settings = SentenceSettings(("mean",), True, {"default": "ba: "}, "default")
    assert sft.metadata["task"] == "embed"
    assert sft.metadata[KEY] == settings.as_dict()
    assert sft.metadata["languages"] == ["aa"]  # bb is no code of a language
    assert {"data aa-bb: aa.txt", "data aa-bb: bb.txt"} < set(sft.metadata["licences"])
    assert sft.sparse
    assert not sft.dense
    tuned = load_task_model(str(material / "student"), [str(run)])  # without any flag
    assert isinstance(tuned.model, SentenceEncoder)
    assert tuned.model.settings == settings
    before = load_task_model(str(material / "student"), (), find_task("embed").configured(pooling=["mean"]))
    less, more = like_the_teacher(material, before, tuned)
    assert more > less + 0.01


def test_texts_of_each_language_are_held_out_and_compared_with_the_teachers_vectors(run: Path) -> None:
    content = record(run)
    metrics = content["results"]["stages"][-1]["metrics"]
    names = {f"eval_{language}_{name}" for language in SYLLABLES for name in ("cosine", "similarity")}
    assert set(metrics) == {*names, "eval_cosine"}
    assert 0 < metrics["eval_cosine"] < 1
    assert content["arguments"]["dev_file"] == []
    assert content["arguments"]["parallel_file"][0].startswith("aa-bb=/")
    assert len([name for name in content["data"] if name.startswith("aa-bb=")]) == 2


class Killed(Exception):
    pass


def test_a_killed_run_resumes_to_the_same_bits(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def kill(trainer: TaskTrainer) -> None:
        raise Killed

    random = ["--selection", "random"]  # without a full stage
    given = flags(material, tmp_path / "cut", *random, student="narrow")
    assert task.main(flags(material, tmp_path / "whole", *random, student="narrow")) == 0
    with monkeypatch.context() as patched:
        patched.setattr(TaskTrainer, "on_saved", kill)
        with pytest.raises(Killed):
            task.main(given)
    assert task.main([*given, "--resume_from_checkpoint", "true", "--held_out", "20"]) == 2
    assert "--held_out 20: the run in" in capsys.readouterr().err
    assert task.main([*given, "--resume_from_checkpoint", "true"]) == 0
    one, other = (SparseFineTuning.load(tmp_path / name) for name in ("whole", "cut"))
    assert all(torch.equal(diff.values_K, other.sparse[name].values_K) for name, diff in one.sparse.items())
    assert {name: tensor.shape for name, tensor in one.dense.items()} == {
        "dense.0.weight": (32, 16),
        "dense.0.bias": (32,),
    }
    assert all(torch.equal(tensor, other.dense[name]) for name, tensor in one.dense.items())
    tuned = load_task_model(str(material / "narrow"), [str(tmp_path / "cut")])
    assert tuned.model.settings.dense == (DenseLayer(16, 32),)
    assert torch.equal(tuned.model.dense[0].weight, one.dense["dense.0.weight"])


@pytest.mark.parametrize("new_head", [False, True])
def test_a_narrow_student_starts_close_to_its_teacher_by_its_projection(
    material: Path, tmp_path: Path, new_head: bool
) -> None:
    mmt = load_task_model(str(material / "mmt"), (), find_task("embed").configured(pooling=["mean"]))
    student = prepare_student(tmp_path, str(material / "narrow"), mmt, seed=0, new_head=new_head)
    assert student.model.settings.dense == (DenseLayer(16, 32),)
    (close,) = like_the_teacher(material, student)
    assert (close > 0.9) is not new_head


def test_a_narrow_student_has_its_teachers_dense_layer_fitted_to_its_width(material: Path, tmp_path: Path) -> None:
    published = tmp_path / "published"
    shutil.copytree(material / "mmt", published)
    write_modules(published, "1_Pooling", {"pooling_mode": "mean"}, "2_Dense", {"in_features": 32, "out_features": 8})
    save_file({"linear.weight": torch.randn(8, 32), "linear.bias": torch.randn(8)}, published / "2_Dense" / SINGLE_FILE)
    teacher = load_task_model(str(published), (), find_task("embed"))
    student = prepare_student(tmp_path / "build", str(material / "narrow"), teacher, seed=0, new_head=False)
    assert student.model.settings.dense == (DenseLayer(16, 8, activation="Tanh"),)
    texts = text_lines("aa", 40, seed=7)
    ours, theirs = (encode(one.model, one.tokenizer, texts) for one in (student, teacher))
    assert compare(ours, theirs)["cosine"] > 0.9


def write_modules(folder: Path, *contents: Any) -> None:
    """Write the files of sentence-transformers: a Transformer, and modules as pairs of folder and configuration."""
    listed = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for path, content in zip(contents[::2], contents[1::2], strict=True):
        listed.append({**listed[0], "path": path, "type": f"sentence_transformers.models.{path[2:]}"})
        (folder / path).mkdir()
        (folder / path / "config.json").write_text(json.dumps(content))
    (folder / "modules.json").write_text(json.dumps(listed))


def test_a_narrow_student_may_keep_its_dimension(material: Path, tmp_path: Path) -> None:
    folder = distil_task(
        task="embed",
        student=material / "narrow",
        teacher_model=material / "mmt",
        train_file={"aa": material / "aa.txt"},
        pooling="mean",
        dimension="student",
        dense=True,
        sparse_max_steps=2,
        output_dir=tmp_path / "run",
        report_to="none",
        disable_tqdm=True,
    )
    tuned = load_task_model(str(material / "narrow"), [str(folder)])
    assert encode(tuned.model, tuned.tokenizer, ["ba"]).shape == (1, 16)
    metrics = record(folder)["results"]["stages"][-1]["metrics"]
    assert set(metrics) == {"eval_aa_similarity", "eval_similarity"}


def test_a_teacher_with_sentence_transformers_files_needs_no_flag(material: Path, tmp_path: Path) -> None:
    write_sentence_folder(tmp_path / "teacher", inner="0_Transformer", layers=2)
    dense = {"linear.weight": torch.randn(8, 32), "linear.bias": torch.randn(8)}
    torch.save(dense, tmp_path / "teacher" / "2_Dense" / "pytorch_model.bin")
    (tmp_path / "teacher" / "2_Dense" / "model.safetensors").unlink()
    words = ["--student", str(tmp_path / "teacher" / "0_Transformer"), "--teacher_model", str(tmp_path / "teacher")]
    words += [*QUICK, "--dense", "--train_file", f"aa={material / 'aa.txt'}", "--output_dir", str(tmp_path / "run")]
    assert task.main([*words, "--learning_rate", "1e-9"]) == 0
    metrics = record(tmp_path / "run")["results"]["stages"][-1]["metrics"]
    assert metrics["eval_cosine"] == pytest.approx(1, abs=1e-5)  # the student is its teacher
    sft = SparseFineTuning.load(tmp_path / "run")
    torch.testing.assert_close(sft.dense["dense.0.weight"], dense["linear.weight"], rtol=0, atol=1e-6)
    assert sft.metadata[KEY]["dense"][0]["activation"] == "Tanh"
    assert sft.metadata[KEY]["prompts"] == {"query": "query: "}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--label_weight", "1"], "--label_weight 1: --task embed has no such loss"),
        (["--pooling", "median"], "pooling median: is not known"),
        (
            ["--dimension", "student", "--vector_mse_weight", "2"],
            "--vector_mse_weight 2: --task embed has no such",
        ),
        (["--dimension", "student", "--per_device_train_batch_size", "1"], "compared within a batch"),
        (["--parallel_file", "aa.txt"], "--parallel_file aa.txt: expected a name and two"),
        (["--parallel_file", "x={folder}/aa.txt,{folder}/few.txt"], "aa.txt has 400 texts and {folder}/few.txt has 3"),
        (["--held_out", "1"], "--held_out 1: expected at least 2"),
        (["--similarity_temperature", "0"], "--similarity_temperature 0.0: expected a number above 0"),
        (["--train_file", "aa={folder}/few.txt"], "few.txt: has 3 different texts, of which at least 20 are needed"),
        (["--max_length", "3"], "--max_length 3: leaves no room for a text"),
        (["--task", "ner"], "--dev_file missing"),
        (["--task", "ner", "--dev_file", "aa={folder}/aa.txt"], "--pooling: has no effect with --task ner"),
    ],
)
def test_bad_input_is_one_line_before_training(
    material: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], expected: str
) -> None:
    (material / "few.txt").write_text("ba\nke\nlo\n")
    words = [word.format(folder=material) for word in more]
    assert task.main(flags(material, tmp_path / "none", *words)) == 2
    error = capsys.readouterr().err
    assert expected.format(folder=material) in error
    assert len([line for line in error.splitlines() if line.startswith("error:")]) == 1
    assert not (tmp_path / "none").exists() or not list((tmp_path / "none").iterdir())


def test_a_model_that_does_not_say_how_it_pools_is_refused(
    material: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for word in flags(material, tmp_path / "none") if word not in POOLED]
    assert task.main(words) == 2
    assert f"--teacher_model {material / 'mmt'}: does not say how it pools its states" in capsys.readouterr().err


def test_teacher_py_refuses_what_is_learned_from_a_teacher(
    material: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--task", "embed", "--model", str(material / "mmt"), "--train_file", f"aa={material / 'aa.txt'}"]
    assert teacher.main([*words, "--output_dir", str(tmp_path / "none")]) == 2
    assert "--task embed: is learned from a teacher, not from labels; give it to task.py" in capsys.readouterr().err
    assert task.main(["--task", "embed"]) == 2
    assert "the embedded sample has no teacher for it; give --student --teacher_model" in capsys.readouterr().err


def test_a_dry_run_says_how_vectors_are_made_and_how_many_texts_are_held_out(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speed, "matmul_rate", lambda *of: 1e9)  # takes long and is not tested here
    assert task.main(flags(material, tmp_path / "none", "--dense", "--held_out", "30", "--dry_run")) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any(line.startswith("dev, aa: aa.txt, ") and " 30 examples" in line for line in lines)
    assert "vectors: pooling mean, then scaled to length 1; prompts: default 'ba: '; at most 32 tokens" in lines
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_two_ranks_learn_as_one_does(material: Path, tmp_path: Path) -> None:
    pairs = f"aa-bb={material / 'aa.txt'},{material / 'bb.txt'}"
    more = ["--dense", "--parallel_file", pairs]
    two = flags(material, tmp_path / "two", *more, "--deepspeed", "zero3", "--per_device_train_batch_size", "4")
    done = run_script("task", *two, ranks=2, cache=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert task.main(flags(material, tmp_path / "one", *more)) == 0
    models = [load_task_model(str(material / "student"), [str(tmp_path / name)]) for name in ("one", "two")]
    one, other = like_the_teacher(material, *models)
    assert one == pytest.approx(other, abs=0.02)  # not equal: each rank compares the texts of its own batch
    texts = text_lines("bb", 20, seed=5)
    vectors = [encode(one.model, one.tokenizer, texts) for one in models]
    assert float(np.mean(np.sum(vectors[0] * vectors[1], 1))) > 0.98
