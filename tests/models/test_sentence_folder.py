"""Test that a model keeps the sentence-transformers files of the model from which it was made."""

from __future__ import annotations

import json
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file
from student_models import tiny_config, tiny_teacher
from tiny import unigram_tokenizer
from tokenizers.normalizers import Lowercase, Sequence
from transformers import AutoModel

from bistil_ds.errors import InputError, Notice
from bistil_ds.models.loading import load_teacher
from bistil_ds.models.sentence_folder import copy_sentence_files, sentence_paths, transformer_folder

POOLING = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
PROMPTS = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": None}
MODEL = tiny_config("bert", layers=2)  # 40 positions, width 32


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def write_sentence_model(
    folder: Path, *behind: str, place: str = "", package: str = "sentence_transformers.models"
) -> Path:
    """Write the sentence-transformers files of a model of width 32 at `place`, but not the model's own files."""
    kinds = ["Transformer", *behind]
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else place, "type": f"{package}.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "config_sentence_transformers.json", PROMPTS)
    write_json(folder / place / "sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})
    for i, kind in enumerate(kinds):
        if kind == "Pooling":
            write_json(folder / f"{i}_Pooling" / "config.json", POOLING)
        if kind == "Dense":
            write_json(folder / f"{i}_Dense" / "config.json", {"in_features": 32, "out_features": 16, "bias": True})
            weights = {"linear.weight": torch.randn(16, 32), "linear.bias": torch.randn(16)}
            torch.save(weights, folder / f"{i}_Dense" / "pytorch_model.bin")
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    (tmp_path / "student").mkdir()
    return tmp_path / "student"


def test_modules_pooling_prompts_and_limits_are_kept(tmp_path: Path, copy: Path) -> None:
    teacher = write_sentence_model(tmp_path / "teacher", "Pooling", "Normalize", place="0_Transformer")
    copy_sentence_files(teacher, copy, MODEL)
    modules = read_json(copy / "modules.json")
    assert [one["type"] for one in modules] == [one["type"] for one in read_json(teacher / "modules.json")]
    assert [one["path"] for one in modules] == ["", "1_Pooling", "2_Normalize"]
    assert read_json(copy / "1_Pooling" / "config.json") == POOLING
    assert read_json(copy / "config_sentence_transformers.json") == PROMPTS
    assert read_json(copy / "sentence_bert_config.json") == {"max_seq_length": 40, "do_lower_case": False}


def test_every_file_that_was_written_is_named_and_can_be_copied_once_more(tmp_path: Path, copy: Path) -> None:
    teacher = write_sentence_model(tmp_path / "teacher", "Pooling", "Dense", "Normalize")
    copy_sentence_files(teacher, copy, MODEL)
    written = [path.name for path in copy.iterdir()]
    assert sorted(written) == sorted(path.name for path in sentence_paths(copy))
    (tmp_path / "again").mkdir()
    copy_sentence_files(copy, tmp_path / "again", MODEL)
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == sorted(written)


def test_pickled_weights_of_a_dense_layer_become_safetensors(tmp_path: Path, copy: Path) -> None:
    teacher = write_sentence_model(tmp_path / "teacher", "Pooling", "Dense")
    copy_sentence_files(teacher, copy, MODEL)
    before = torch.load(teacher / "2_Dense" / "pytorch_model.bin", weights_only=True)
    after = load_file(copy / "2_Dense" / "model.safetensors")
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not list(copy.rglob("*.bin"))


def test_a_narrower_student_pools_states_of_its_own_width(tmp_path: Path, copy: Path) -> None:
    teacher = write_sentence_model(tmp_path / "teacher", "Pooling")
    copy_sentence_files(teacher, copy, tiny_config("bert", hidden_size=16))
    assert read_json(copy / "1_Pooling" / "config.json")["word_embedding_dimension"] == 16


@pytest.mark.parametrize(
    ("behind", "width", "reason"),
    [
        (["Pooling", "Dense"], 16, "weights of its Dense are for states of width 32, not 16"),
        (["Pooling", "Whitening"], 32, "module Whitening needs code"),
    ],
)
def test_what_cannot_be_kept_is_told(tmp_path: Path, copy: Path, behind: list[str], width: int, reason: str) -> None:
    teacher = write_sentence_model(tmp_path / "teacher", *behind)
    with pytest.warns(Notice, match=f"^--teacher_model .*{reason}.*, so its sentence-transformers files are left out$"):
        copy_sentence_files(teacher, copy, tiny_config("bert", hidden_size=width), "--teacher_model")
    assert list(copy.iterdir()) == []


def test_a_module_of_another_package_is_refused(tmp_path: Path, copy: Path) -> None:
    teacher = write_sentence_model(tmp_path / "teacher", "Pooling", package="their_code")
    with pytest.raises(InputError, match=r"names their_code\.Transformer, which needs code of its own"):
        copy_sentence_files(teacher, copy, MODEL)


def test_a_sub_folder_of_a_hub_repository_is_fetched(tmp_path: Path) -> None:
    """The hub's client fetches files by patterns; here it takes them from a folder."""
    origin = write_sentence_model(tmp_path / "origin", "Pooling", place="0_Transformer")
    write_json(origin / "0_Transformer" / "config.json", {})
    cache = tmp_path / "cache"

    def fetch(_: str, revision: str, allow_patterns: list[str]) -> str:
        for path in filter(Path.is_file, origin.rglob("*")):
            inside = path.relative_to(origin)
            if any(fnmatch(inside.as_posix(), pattern) for pattern in allow_patterns):
                (cache / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, cache / inside)
        return str(cache)

    with (
        mock.patch("bistil_ds.models.hub_folder.snapshot_download", fetch),
        mock.patch("bistil_ds.models.sentence_folder.find_file", lambda _, file: origin / file),
    ):
        assert transformer_folder("somebody/sentences") == str(cache / "0_Transformer")
        assert (cache / "0_Transformer" / "config.json").is_file()
        (tmp_path / "made").mkdir()
        copy_sentence_files("somebody/sentences", tmp_path / "made", MODEL)
    assert read_json(tmp_path / "made" / "1_Pooling" / "config.json") == POOLING
    assert read_json(tmp_path / "made" / "sentence_bert_config.json")["max_seq_length"] == 40


def test_a_plain_folder_has_none(tmp_path: Path, copy: Path) -> None:
    copy_sentence_files(tmp_path, copy, MODEL)
    assert list(copy.iterdir()) == []
    assert transformer_folder(tmp_path) == str(tmp_path)


@pytest.mark.parametrize("content", ["[{", "{}", "7", '[{"type": "a"}]', "[" * 5000])
def test_a_broken_list_of_modules_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(InputError, match=r"^--model .*: its modules\.json (is no list of modules|cannot be read)"):
        transformer_folder(tmp_path, "--model")


@pytest.mark.parametrize("path", ["../other", "/etc"])
def test_a_folder_outside_of_the_models_is_refused(tmp_path: Path, copy: Path, path: str) -> None:
    write_json(tmp_path / "modules.json", [{"type": "sentence_transformers.models.Transformer", "path": path}])
    for use in (lambda: transformer_folder(tmp_path), lambda: copy_sentence_files(tmp_path, copy, MODEL)):
        with pytest.raises(InputError, match="folders inside of it"):
            use()


@pytest.mark.parametrize("inner", ["", "0_Transformer"])
def test_letter_case_that_only_sentence_transformers_drops_is_refused(tmp_path: Path, copy: Path, inner: str) -> None:
    """Version 6.2 gives the tokenizer a normaliser; saved with it, the model makes the same tokens everywhere."""
    teacher, tokenizer = write_sentence_model(tmp_path / "teacher", "Pooling", place=inner), unigram_tokenizer()
    write_json(teacher / inner / "sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": True})
    tokenizer.save_pretrained(teacher / inner)
    uses = (lambda: copy_sentence_files(teacher, copy, MODEL, "--x"), lambda: transformer_folder(teacher, "--x"))
    for use in uses:
        with pytest.raises(InputError, match=f"^--x {teacher}: lower-cases texts outside of its tokenizer"):
            use()
    tokenizer.backend_tokenizer.normalizer = Sequence([Lowercase(), tokenizer.backend_tokenizer.normalizer])
    tokenizer.save_pretrained(teacher / inner)
    for use in uses:
        use()
    assert read_json(copy / "sentence_bert_config.json")["do_lower_case"]


def test_a_teacher_may_lie_in_a_sub_folder(tmp_path: Path) -> None:
    teacher = write_sentence_model(tmp_path / "teacher", "Pooling", place="0_Transformer")
    tokenizer = unigram_tokenizer()
    model = tiny_teacher("bert", layers=2, auto=AutoModel, vocab_size=len(tokenizer))
    for save in (model.save_pretrained, tokenizer.save_pretrained):
        save(teacher / "0_Transformer")
    loaded, _ = load_teacher(teacher)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
