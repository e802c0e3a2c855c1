"""Test that rank 0 leaves the trimmed teacher and the student for every rank, whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny
import torch
from datasets import Dataset
from transformers import AutoModelForMaskedLM, AutoTokenizer

from bistil_ds.distillation import building, checks
from bistil_ds.distillation.from_flags import request_of
from bistil_ds.distillation.request import DistillationRequest
from bistil_ds.errors import InputError
from bistil_ds.models.loading import load_teacher
from bistil_ds.runs.folder import whole_or_nothing
from bistil_ds.runs.seals import Seals
from bistil_ds.student import load_projections
from bistil_ds.student.folder import base_vocab_size, read_layer_map
from bistil_ds.student.origin import Origin, read_origin


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder)
    tiny.write_teacher(folder / "teacher")
    return folder


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def request(material: Path, **flags: object) -> DistillationRequest:
    files = {"source_file": str(material / "aa.txt"), "target_file": str(material / "bb.txt")}
    named = {"teacher_model": str(material / "teacher"), "source_language": "aa", "target_language": "bb"}
    return request_of(**{**named, **files, "max_length": 32, **flags})


def built(material: Path, folder: Path, **flags: object) -> dict[str, object]:
    with whole_or_nothing(folder / "build", Seals()) as partial:
        return building.build(request(material, **flags), partial)


@pytest.mark.parametrize(
    ("languages", "sampled"), [(1, [16]), (2, [16, 16]), (3, [10] * 3), (5, [6] * 5), (20, [1] * 20), (40, [1] * 32)]
)
def test_the_sample_for_width_reduction_is_shared_by_the_languages(languages: int, sampled: list[int]) -> None:
    parts = [Dataset.from_dict({"input_ids": [[number, row] for row in range(20)]}) for number in range(languages)]
    chunks = {str(number): building.LanguageChunks(part, part) for number, part in enumerate(parts)}
    rows = [row for batch in building.sample_batches(chunks) for row in batch["input_ids"].tolist()]
    assert rows == [[language, row] for language, count in enumerate(sampled) for row in range(count)]


def test_teacher_and_student_load_with_transformers_alone(material: Path, tmp_path: Path) -> None:
    report = built(material, tmp_path)
    student, teacher = (AutoModelForMaskedLM.from_pretrained(tmp_path / "build" / n) for n in ("student", "teacher"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "build" / "student")
    assert (student.config.num_hidden_layers, teacher.config.num_hidden_layers) == (2, 4)
    assert student.config.vocab_size == teacher.config.vocab_size == len(tokenizer) < 170
    assert read_layer_map(tmp_path / "build" / "student") == [1, 3]
    assert base_vocab_size(tmp_path / "build" / "student") == 170
    assert report["student_parameters"] == student.num_parameters()
    assert torch.equal(
        student.roberta.encoder.layer[0].output.dense.weight, teacher.roberta.encoder.layer[1].output.dense.weight
    )


def test_the_student_says_the_licences_of_its_parts_and_the_languages_of_its_teacher(
    material: Path, tmp_path: Path
) -> None:
    teacher = shutil.copytree(material / "teacher", tmp_path / "mmt")
    (teacher / "README.md").write_text("---\nlicense: mit\nlanguage: [aa, bb, sw]\n---\n")
    built(material, tmp_path, teacher_model=str(teacher), data_licence=["bb=cc-by-nc-4.0"])
    parts = {"model mmt": "mit", "data aa: aa.txt": "unknown", "data bb: bb.txt": "cc-by-nc-4.0"}
    student = tmp_path / "build" / "student"
    assert read_origin(student) == Origin(parts, ["aa", "bb", "sw"])
    (tmp_path / "again").mkdir()
    built(material, tmp_path / "again", student=str(student), teacher_licence="apache-2.0")
    again = read_origin(tmp_path / "again" / "build" / "student")
    assert again == Origin({"model teacher": "apache-2.0", **parts}, [])


def test_the_report_can_be_recorded(material: Path, tmp_path: Path) -> None:
    report = built(material, tmp_path, layer_map="0,3")
    assert json.loads(json.dumps(report)) == report
    assert read_layer_map(tmp_path / "build" / "student") == [0, 3]


def test_a_narrow_student_comes_with_its_projections(material: Path, tmp_path: Path) -> None:
    built(material, tmp_path, hidden_reduction_factor=2)
    projections = load_projections(tmp_path / "build" / "student")
    assert projections is not None
    assert [tuple(p.shape) for p in projections] == [(32, 16)] * 3
    assert AutoModelForMaskedLM.from_pretrained(tmp_path / "build" / "student").config.hidden_size == 16


def test_a_failure_leaves_nothing(material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("bistil_ds.student.files.write_alignment", fails)  # both models are written before this point
    with pytest.raises(OSError, match="disk full"):
        built(material, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_student_of_ours_is_taken_with_its_vocabulary_and_layers(material: Path, tmp_path: Path) -> None:
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
    built(material, tmp_path / "once", layer_map="0,2")
    student = tmp_path / "once" / "build" / "student"
    built(material, tmp_path / "again", student=str(student))
    assert read_layer_map(tmp_path / "again" / "build" / "student") == [0, 2]
    before, after = (AutoModelForMaskedLM.from_pretrained(f) for f in (student, tmp_path / "again/build/student"))
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))


@pytest.mark.parametrize("flag", [{"vocab_size": 20}, {"vocab_threshold": 0.01}])
def test_a_trimmed_student_takes_no_flag_for_another_vocabulary(
    material: Path, tmp_path: Path, flag: dict[str, float]
) -> None:
    built(material, tmp_path)
    ((name, value),) = flag.items()
    with pytest.raises(InputError, match=f"--{name} {value}: --student .* has its own vocabulary; leave the flag out"):
        built(material, tmp_path, student=str(tmp_path / "build" / "student"), **flag)


def test_a_students_depth_need_not_follow_the_layer_factor(material: Path, tmp_path: Path) -> None:
    teacher = tiny.write_teacher(tmp_path / "teacher", layers=3)
    student = tiny.write_teacher(tmp_path / "student", layers=1, seed=1)
    asked = request(material, student=str(student), teacher_model=str(teacher))
    checks.check_teacher(asked)  # 2, the default factor, does not divide 3
    building.build(asked, tmp_path / "build")
    assert read_layer_map(tmp_path / "build" / "student") == [2]


@pytest.mark.parametrize(("layers", "width", "message"), [(3, 32, "3 layers do not divide"), (2, 16, "16 wide")])
def test_a_student_that_does_not_fit_is_named(
    material: Path, tmp_path: Path, layers: int, width: int, message: str
) -> None:
    student = tiny.write_teacher(tmp_path / "student", layers=layers, width=width)
    with pytest.raises(InputError, match=f"--student {student}: .*{message}"):
        built(material, tmp_path, student=str(student))


def test_a_student_of_another_teacher_is_refused(material: Path, tmp_path: Path) -> None:
    built(material, tmp_path)
    student = shutil.move(tmp_path / "build" / "student", tmp_path / "student")
    kept = json.loads((student / "kept_ids.json").read_text())
    (student / "kept_ids.json").write_text(json.dumps({**kept, "base_vocab_size": 999}))
    (tmp_path / "again").mkdir()
    with pytest.raises(InputError, match="was trimmed from a vocabulary of 999 tokens, the teacher has 170"):
        built(material, tmp_path / "again", student=str(student))


def test_missing_head_weights_are_not_made_up(tmp_path: Path) -> None:
    tokenizer = tiny.unigram_tokenizer()
    model = tiny.xlmr(len(tokenizer))
    model.roberta.save_pretrained(tmp_path)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"lacks weights of a masked language model, such as lm_head\."):
        load_teacher(str(tmp_path), "--teacher_model")


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny.unigram_tokenizer()
    tiny.xlmr(len(tokenizer) - 1).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=f"has {len(tokenizer)} tokens, its embeddings {len(tokenizer) - 1}"):
        load_teacher(str(tmp_path), "--teacher_model")


def test_the_real_mmt_is_whole(shared: Path) -> None:
    model, tokenizer = load_teacher(str(shared / "models" / "mini-mmt"), "--teacher_model")
    assert len(tokenizer) <= model.config.vocab_size
