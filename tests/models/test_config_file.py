"""Test that what a model folder's files say of themselves is checked before a library believes it."""

from __future__ import annotations

import ast
import json
import pickle
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from reading_code.import_graph import ROOT
from transformers import AutoModelForMaskedLM

from bistil_ds.errors import InputError, Notice
from bistil_ds.models.config_file import check_pickled
from bistil_ds.models.inputs import load_config, load_tokenizer
from bistil_ds.models.loading import load_pretrained, load_teacher
from bistil_ds.sft.published import read_published
from bistil_ds.tasks.models import recorded_labels
from bistil_ds.tasks.registry import find_task


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "mmt"
    tiny.write_teacher(folder, layers=2, width=16)
    return folder


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "mmt"))


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refusal(call: Any, *arguments: Any, **more: Any) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


CHANGES = {
    "labels that fill memory": ({"num_labels": 10**9, "id2label": None}, "num_labels in its config.json is 1000000000"),
    "layers without end": ({"num_hidden_layers": 10**8}, "num_hidden_layers in its config.json is 100000000"),
    "a size that is no whole number": ({"hidden_size": 1e300}, "hidden_size in its config.json is 1e+300"),
    "a size below 0": ({"vocab_size": -1}, "expected 0 to 100,000,000"),
    "a size in words": ({"vocab_size": "10"}, "vocab_size in its config.json is '10'"),
    "labels that are a list": ({"id2label": ["a"]}, "id2label in its config.json is no mapping"),
    "architectures that are a number": ({"architectures": 7}, "architectures in its config.json is 7"),
    "an infinite number": ({"layer_norm_eps": float("inf")}, "Infinity where a number is expected"),
    "a length in words": ({"trained_max_length": "long"}, "trained_max_length in its config.json is 'long'"),
}


@pytest.mark.parametrize(("values", "said"), CHANGES.values(), ids=CHANGES)
def test_a_config_that_no_model_has_is_one_line_before_anything_is_made(
    model: Path, values: dict[str, Any], said: str
) -> None:
    change(model / "config.json", **values)
    for call in (lambda: load_config("--model", model), lambda: load_pretrained(AutoModelForMaskedLM, model)):
        assert said in refusal(call)
    assert refusal(load_config, "--model", model).startswith(f"--model {model}")


def test_a_config_without_end_or_too_deep_is_one_line(model: Path) -> None:
    (model / "config.json").write_text('{"a": ' + "[" * 100_000)
    assert "100 lists and objects" in refusal(load_config, "--model", str(model))
    (model / "config.json").unlink()
    (model / "config.json").symlink_to("/dev/zero")
    assert refusal(load_config, "--model", str(model))


def test_more_weights_than_the_files_can_hold_are_refused_before_they_are_made(model: Path) -> None:
    change(model / "config.json", vocab_size=90_000_000)
    said = refusal(load_pretrained, AutoModelForMaskedLM, model, flag="--teacher_model")
    assert said.startswith(f"--teacher_model {model}: config.json describes 1,44")


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
@pytest.mark.parametrize("name", ["../other/model.safetensors", "/etc/passwd", "a/b.safetensors", "", ".."])
def test_an_index_of_weights_stays_in_its_folder(model: Path, index: str, name: str) -> None:
    (model / index).write_text(json.dumps({"weight_map": {"w": name}}))
    assert "no file of its own folder" in refusal(load_pretrained, AutoModelForMaskedLM, model)


def test_a_packed_pickle_is_refused_before_it_is_unpacked(model: Path) -> None:
    torch.save({"w": torch.zeros(10)}, model / "whole.bin")
    check_pickled(model / "whole.bin")
    with zipfile.ZipFile(model / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("archive/data.pkl", bytes(2**24))
    for call in (
        lambda: load_pretrained(AutoModelForMaskedLM, model),
        lambda: read_published(model / "pytorch_model.bin"),
    ):
        assert "packed, as torch never does" in refusal(call)


class Hostile:
    """What a pickle makes by calling `open`, which would leave a file behind."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.target, "w"))


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pickled_model_runs_no_code(model: Path, tmp_path: Path, how: str) -> None:
    (model / "model.safetensors").unlink()
    content = {"w": torch.zeros(1), "x": Hostile(tmp_path / "ran")}
    if how == "torch":
        torch.save(content, model / "pytorch_model.bin")
    else:
        (model / "pytorch_model.bin").write_bytes(pickle.dumps(content, protocol=2))
    assert "cannot be loaded" in refusal(load_teacher, str(model), "--teacher_model")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_that_a_folder_names_is_not_run_and_one_line_says_so(model: Path, file: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (model / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Config: ...\nclass Tokenizer: ...\n")
    change(model / file, auto_map={"AutoConfig": "evil.Config", "AutoTokenizer": ["evil.Tokenizer", None]})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        load_pretrained(AutoModelForMaskedLM, model, flag="--model")
        load_tokenizer("--model", model)
    notices = {str(one.message) for one in said if one.category is Notice}
    assert notices == {f"--model {model}: {file} names code of its own (auto_map), which is never run"}
    assert not ran.exists()


def test_a_model_that_is_code_only_is_refused_in_one_line(model: Path) -> None:
    change(model / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Config"})
    with pytest.warns(Notice, match="never run"):
        said = refusal(load_config, "--model", str(model))
    assert said.endswith("needs code of its own (auto_map), which is never run; give another model")


def test_tokenizer_files_are_checked_too(model: Path) -> None:
    (model / "tokenizer_config.json").write_text("[" * 100_000)
    assert "100 lists and objects" in refusal(load_tokenizer, "--tokenizer", model)
    (model / "tokenizer_config.json").unlink()
    for content in ("[" * 100_000, '{"model": 1e400}', "{}"):
        (model / "tokenizer.json").write_text(content)
        assert refusal(load_tokenizer, "--tokenizer", model).startswith(f"--tokenizer {model}: cannot be loaded")
    with open(model / "tokenizer.json", "wb") as file:
        file.truncate(2**30)
    assert "no tokenizer needs as many" in refusal(load_tokenizer, "--tokenizer", model)


@pytest.mark.parametrize("labels", [{"1": "a", "2": "b"}, {"0": 5}])
def test_labels_without_names_are_one_line(model: Path, labels: dict[str, Any]) -> None:
    change(model / "config.json", id2label=labels, architectures=["XLMRobertaForTokenClassification"])
    assert "id2label" in refusal(recorded_labels, [], str(model), find_task("ner"), "--model")


def loading(path: Path) -> list[str]:
    """Return the places in a file where a class of transformers that can load remote code loads something."""
    text = path.read_text(encoding="utf-8")
    nodes = ast.walk(ast.parse(text)) if "Auto" in text and ".from_pretrained(" in text else ()  # parsing takes long
    calls = [ast.unparse(node) for node in nodes if isinstance(node, ast.Call)]
    return [f"{path.name}: {call}" for call in calls if call.startswith("Auto") and ".from_pretrained(" in call]


def test_one_place_each_loads_configurations_and_tokenizers(tmp_path: Path) -> None:
    found = [place for path in sorted((ROOT / "bistil_ds").rglob("*.py")) for place in loading(path)]
    assert [place.partition("(")[0] for place in found] == [
        "inputs.py: AutoConfig.from_pretrained",
        "inputs.py: AutoTokenizer.from_pretrained",
        "with_head.py: AutoConfig.from_pretrained",
    ]
    assert all("trust_remote_code=False" in place for place in found[:2])
    (tmp_path / "x.py").write_text("AutoModel.from_pretrained('x')\n")
    assert len(loading(tmp_path / "x.py")) == 1
