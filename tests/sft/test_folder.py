"""Test sparse fine-tunings on disk: reading returns what was written; unreadable folders are refused in one line."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from random_sfts import DENSE, EMBEDDINGS, random_diff, small_model, small_sft, write_published

from bistil_ds.errors import InputError
from bistil_ds.models.weight_files import hash_weights
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sft.folder import write_folder


@pytest.fixture
def sft() -> SparseFineTuning:
    return small_sft()


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (7,), (2, 3, 4)])
def test_a_published_file_lands_on_the_entries_it_was_made_from(tmp_path: Path, shape: tuple[int, ...]) -> None:
    difference = torch.randn(shape) * (torch.rand(shape) < 0.5)
    difference.view(-1)[1] = 1.0
    write_published(tmp_path, {"w": difference}, {"head": torch.ones(2)})
    loaded = SparseFineTuning.load(tmp_path)
    rebuilt = torch.zeros(shape)
    rebuilt.view(-1)[loaded.sparse["w"].indices_K.long()] = loaded.sparse["w"].values_K
    assert torch.equal(rebuilt, difference)
    assert loaded.sparse["w"].indices_K.dtype == torch.int32
    assert torch.equal(loaded.dense["head"], torch.ones(2))


def test_a_pickle_written_by_numpy_1_is_read(tmp_path: Path) -> None:
    write_published(tmp_path, {"w": torch.eye(3)}, {})
    file = tmp_path / "pytorch_diff.bin"
    torch.save(torch.load(file, weights_only=False), file, _use_new_zipfile_serialization=False)
    file.write_bytes(file.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert SparseFineTuning.load(tmp_path).sparse["w"].indices_K.tolist() == [0, 4, 8]


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (7,), (2, 3, 4)])
def test_the_published_format_gives_back_what_was_saved(tmp_path: Path, shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape))
    sparse = {"w": random_diff(shape, size // 2), "all": random_diff(shape, size), "none": random_diff(shape, 0)}
    SparseFineTuning("x", sparse, {"head": torch.ones(2)}).save_published(tmp_path)
    loaded = SparseFineTuning.load(tmp_path)
    for name, diff in sparse.items():
        assert loaded.sparse[name].shape == shape
        assert torch.equal(loaded.sparse[name].indices_K, diff.indices_K)
        assert torch.equal(loaded.sparse[name].values_K, diff.values_K)
    assert torch.equal(loaded.dense["head"], torch.ones(2))
    assert [path.name for path in tmp_path.iterdir()] == ["pytorch_diff.bin"]


def test_a_published_file_of_ours_is_encoded_as_theirs_and_opens_without_unpickling_code(tmp_path: Path) -> None:
    difference = torch.randn(4, 6) * (torch.rand(4, 6) < 0.5)
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
    write_published(tmp_path / "theirs", {"w": difference}, {})
    SparseFineTuning.load(tmp_path / "theirs").save_published(tmp_path / "ours")
    ours = torch.load(tmp_path / "ours" / "pytorch_diff.bin", weights_only=True)["diffs"]["w"]
    theirs = torch.load(tmp_path / "theirs" / "pytorch_diff.bin", weights_only=False)["diffs"]["w"]
    assert ours["size"] == theirs["size"]
    assert ours["index_steps"] == [int(step) for step in theirs["index_steps"]]
    assert torch.equal(ours["values"], theirs["values"])


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_file_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path, how: str) -> None:
    victim, file = tmp_path / "victim", tmp_path / "pytorch_diff.bin"
    content = {"diffs": {}, "abs": {"x": Hostile(victim)}}
    if how == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(InputError, match=r"pytorch_diff\.bin is refused"):
        SparseFineTuning.load(tmp_path)
    assert not victim.exists()


def test_a_numpy_scalar_that_is_no_integer_is_refused(tmp_path: Path) -> None:
    torch.save({"diffs": {}, "abs": {}, "x": np.float64(1.0)}, tmp_path / "pytorch_diff.bin")
    with pytest.raises(InputError, match="is refused"):
        SparseFineTuning.load(tmp_path)


def doubled(times: int) -> list:
    """Return a list in a list in a list …, which holds itself twice each time: small in a file, 2^times in numpy."""
    one: list = [1]
    for _ in range(times):
        one = [one, one]
    return one


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ({"size": (2, 2), "index_steps": [4], "values": torch.ones(1)}, "cannot be decoded"),
        ({"size": (2, 2), "index_steps": [0, 1], "values": torch.ones(1)}, "2 indices for 1 values"),
        ({"size": (2, 2), "index_steps": [1, 0], "values": torch.ones(2)}, "not ascending"),
        ({"size": (2, 2), "index_steps": [1]}, "cannot be decoded"),
        ({"size": (2, 2), "index_steps": [0.5, 1.0], "values": torch.ones(2)}, "no 64-bit integers"),
        ({"size": (2, 2), "index_steps": [10**30], "values": torch.ones(1)}, "no 64-bit integers"),
        ({"size": (2, 2), "index_steps": [0], "values": torch.ones(1).to_sparse()}, "cannot be decoded"),
        ({"size": (2, 2), "index_steps": doubled(40), "values": torch.ones(1)}, "no list of numbers"),
        *(
            ({"size": (size, 2), "index_steps": [1], "values": torch.ones(1)}, "cannot be decoded")
            for size in (1e300, float("inf"), 2**62, -1, None)
        ),
    ],
)
def test_damaged_differences_name_the_parameter(tmp_path: Path, encoded: dict, message: str) -> None:
    torch.save({"diffs": {"layer.w": encoded}, "abs": {}}, tmp_path / "pytorch_diff.bin")
    with pytest.raises(InputError, match=message) as caught:
        SparseFineTuning.load(tmp_path)
    assert "layer.w" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_our_own_folder_gives_back_what_was_saved(tmp_path: Path, sft: SparseFineTuning) -> None:
    sft.save(tmp_path)
    loaded = SparseFineTuning.load(tmp_path)
    assert loaded.metadata == {"languages": ["tr"]}
    assert list(loaded.sparse) == [EMBEDDINGS, DENSE]
    for name, diff in sft.sparse.items():
        assert loaded.sparse[name].shape == diff.shape
        assert torch.equal(loaded.sparse[name].indices_K, diff.indices_K)
        assert torch.equal(loaded.sparse[name].values_K, diff.values_K)
    assert torch.equal(loaded.dense["classifier.weight"], torch.ones(3, 8))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sft.json", "sft.safetensors"]


def test_heads_that_share_memory_are_saved(tmp_path: Path) -> None:
    bias = torch.arange(4.0)
    SparseFineTuning("tied", {}, {"lm_head.bias": bias, "lm_head.decoder.bias": bias}).save(tmp_path)
    assert all(torch.equal(tensor, bias) for tensor in SparseFineTuning.load(tmp_path).dense.values())


def test_tensors_of_another_save_are_refused(tmp_path: Path, sft: SparseFineTuning) -> None:
    sft.save(tmp_path)
    header = (tmp_path / "sft.json").read_bytes()
    sft.sparse[DENSE].values_K.add_(1)
    sft.save(tmp_path)
    (tmp_path / "sft.json").write_bytes(header)
    with pytest.raises(InputError, match="is not the file"):
        SparseFineTuning.load(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"format": "other"}), "[" * 100_000])
def test_a_damaged_header_is_refused_in_one_line(tmp_path: Path, sft: SparseFineTuning, content: str) -> None:
    sft.save(tmp_path)
    (tmp_path / "sft.json").write_text(content)
    with pytest.raises(InputError, match=r"sft|SFT") as caught:
        SparseFineTuning.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "shapes",
    [{EMBEDDINGS: [40, 8]}]
    + [{EMBEDDINGS: [40, 8], DENSE: [size, 8]} for size in (float("inf"), 1e300, 8.0, -1, 2**61, True, None, "8")],
)
def test_a_header_without_the_shape_of_a_difference_is_refused(
    tmp_path: Path, sft: SparseFineTuning, shapes: dict[str, list[float]]
) -> None:
    sft.save(tmp_path)
    header = json.loads((tmp_path / "sft.json").read_text())
    (tmp_path / "sft.json").write_text(json.dumps({**header, "shapes": shapes}))
    with pytest.raises(InputError, match=r"not a readable SFT folder|Infinity where a number is expected"):
        SparseFineTuning.load(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_indices_that_are_no_integers_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    write_folder(tmp_path, {DENSE: ((12, 8), torch.tensor([0, 1]).to(dtype), torch.ones(2))}, {}, {})
    with pytest.raises(InputError, match=f"{DENSE} is damaged: indices are {dtype}"):
        SparseFineTuning.load(tmp_path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", [DENSE, "classifier.weight"])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, sft: SparseFineTuning, bad: float, where: str) -> None:
    values = sft.sparse[DENSE].values_K if where == DENSE else sft.dense[where]
    values.view(-1)[3] = bad
    sft.save(tmp_path / "ours")
    sft.save_published(tmp_path / "theirs")
    for folder in ("ours", "theirs"):
        with pytest.raises(InputError, match=f"{folder}: 1 of .* values for {where} is not finite"):
            SparseFineTuning.load(tmp_path / folder)


def test_a_folder_without_an_sft_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds neither"):
        SparseFineTuning.load(tmp_path)
    with pytest.raises(InputError, match="neither a folder here nor a hub id"):
        SparseFineTuning.load(tmp_path / "nothing here")


def test_a_hub_id_fetches_the_files_of_an_sft_or_of_its_base_only(
    tmp_path: Path, sft: SparseFineTuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: dict[str, list[str]] = {}
    model = small_model()

    def download(repository: str, *, revision: str, allow_patterns: list[str]) -> str:
        fetched[repository] = allow_patterns
        return str(tmp_path / repository)

    monkeypatch.setattr("bistil_ds.models.hub_folder.snapshot_download", download)
    model.save_pretrained(tmp_path / "org" / "mmt")
    sft.metadata["base_hash"] = hash_weights(model)
    sft.save(tmp_path / "org" / "sft")
    loaded = SparseFineTuning.load("org/sft")
    loaded.apply(model, check_base="org/mmt")
    assert loaded.name == "org/sft"
    assert fetched["org/sft"] == ["sft.safetensors", "sft.json", "pytorch_diff.bin"]
    assert not any(name.endswith(".bin") for name in fetched["org/mmt"])
