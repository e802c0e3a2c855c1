"""Test that the teacher's language can change between batches and that the exact bits always return."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch
from distilling.trainers import LANGUAGES, Make
from launch import PROGRAMS, python_path, start_ranks
from safetensors.torch import load_file
from transformers import BertConfig, BertForMaskedLM, XLMRobertaForMaskedLM

from bistil_ds.distillation.teacher_languages import LanguageSwitch
from bistil_ds.errors import InputError
from bistil_ds.sft.fine_tuning import SparseDiff, SparseFineTuning

EMBEDDINGS = "bert.embeddings.word_embeddings.weight"


def random_sft(model: torch.nn.Module, density: float, seed: int) -> SparseFineTuning:
    generator = torch.Generator().manual_seed(seed)
    sparse = {}
    for name, parameter in model.named_parameters():
        chosen = (torch.rand(parameter.numel(), generator=generator) < density).nonzero().flatten()
        values = torch.randn(len(chosen), generator=generator) * 0.3
        sparse[name] = SparseDiff(tuple(parameter.shape), chosen, values)
    return SparseFineTuning(f"sft {seed}", sparse)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a tiny teacher with odd sizes and SFTs for en and tr; the one for tr holds a bias as a whole tensor."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 41, "hidden_size": 9, "num_attention_heads": 3, "intermediate_size": 13}
    model = BertForMaskedLM(BertConfig(**sizes, num_hidden_layers=2, max_position_embeddings=16))
    path = tmp_path_factory.mktemp("teacher")
    model.save_pretrained(path)
    for seed, language in enumerate(("en", "tr")):
        sft = random_sft(model, 0.2, seed)
        if language == "tr":
            del sft.sparse["cls.predictions.bias"]
            sft.dense = {"cls.predictions.bias": torch.ones(41), "classifier.weight": torch.ones(2, 9)}
        sft.save(path / language)
    return path


@pytest.fixture
def sfts(folder: Path) -> dict[str, SparseFineTuning]:
    return {language: SparseFineTuning.load(folder / language) for language in ("en", "tr")}


def load(folder: Path, dtype: torch.dtype = torch.float32) -> BertForMaskedLM:
    return BertForMaskedLM.from_pretrained(folder).eval().requires_grad_(False).to(dtype)


def same_bits(model: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(one, two) for one, two in pairs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_each_language_is_the_fp32_sum_rounded_once(
    folder: Path, sfts: dict[str, SparseFineTuning], dtype: torch.dtype
) -> None:
    teacher = load(folder, dtype)
    switch = LanguageSwitch(teacher, folder, sfts)
    for language in ("en", "tr", "en"):
        switch.switch_to(language)
        expected = load(folder)
        sfts[language].apply(expected)
        assert same_bits(teacher, expected.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_hundred_switches_end_in_the_starting_bits(
    folder: Path, sfts: dict[str, SparseFineTuning], dtype: torch.dtype
) -> None:
    teacher = load(folder, dtype)
    switch = LanguageSwitch(teacher, folder, sfts)
    for step in range(100):
        switch.switch_to(("en", "tr")[step % 2])
    switch.switch_to(None)
    assert same_bits(teacher, load(folder, dtype))


def test_tied_embeddings_change_once_and_stay_tied(folder: Path, sfts: dict[str, SparseFineTuning]) -> None:
    teacher = load(folder)
    LanguageSwitch(teacher, folder, sfts).switch_to("en")
    diff = sfts["en"].sparse[EMBEDDINGS]
    moved = (teacher.get_output_embeddings().weight - load(folder).get_parameter(EMBEDDINGS)).view(-1)
    assert torch.allclose(moved[diff.indices_K.long()], diff.values_K, atol=1e-6)
    assert teacher.get_output_embeddings().weight is teacher.get_input_embeddings().weight


def test_switching_to_the_language_already_there_writes_nothing(
    folder: Path, sfts: dict[str, SparseFineTuning]
) -> None:
    teacher = load(folder)
    switch = LanguageSwitch(teacher, folder, sfts)
    switch.switch_to("en")
    with torch.no_grad():
        teacher.get_parameter(EMBEDDINGS).zero_()
    switch.switch_to("en")
    assert not teacher.get_parameter(EMBEDDINGS).any()
    switch.switch_to("tr")
    assert teacher.get_parameter(EMBEDDINGS).any()


def test_a_language_without_an_sft_uses_the_teacher_as_it_is(folder: Path, sfts: dict[str, SparseFineTuning]) -> None:
    teacher = load(folder)
    switch = LanguageSwitch(teacher, folder, {"en": None, "tr": sfts["tr"]})
    switch.switch_to("tr")
    switch.switch_to("en")
    assert same_bits(teacher, load(folder))
    with pytest.raises(KeyError):
        switch.switch_to("sw")
    assert switch.language == "en"


def test_a_teacher_that_is_not_the_one_on_disk_is_refused(folder: Path, sfts: dict[str, SparseFineTuning]) -> None:
    teacher = load(folder)
    sfts["en"].apply(teacher)
    with pytest.raises(InputError, match=r"the teacher's .* is not the one in"):
        LanguageSwitch(teacher, folder, sfts)


def test_an_sft_for_another_model_is_refused_before_anything_changes(
    folder: Path, sfts: dict[str, SparseFineTuning]
) -> None:
    teacher = load(folder)
    other = SparseFineTuning("wide", {EMBEDDINGS: SparseDiff((50, 9), torch.tensor([3]), torch.ones(1))})
    with pytest.raises(InputError, match=r"SFT wide changes .* 50×9.* 41×9.*another model"):
        LanguageSwitch(teacher, folder, {"en": sfts["en"], "tr": other})
    assert same_bits(teacher, load(folder))


def test_a_real_model_comes_back_to_its_bits(shared: Path) -> None:
    path = shared / "models" / "mini-mmt"
    teacher = XLMRobertaForMaskedLM.from_pretrained(path).eval().to(torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    switch = LanguageSwitch(teacher, path, {"en": random_sft(teacher, 0.08, 0), "tr": random_sft(teacher, 0.08, 1)})
    for language in ("en", "tr", "en", None):
        switch.switch_to(language)
        unchanged = all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
        assert unchanged == (language is None)


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_zero3_partitions_answer_as_the_whole_model_does(folder: Path, ranks: int) -> None:
    pytest.importorskip("deepspeed")
    script = PROGRAMS / "language_switch_zero3.py"
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = python_path()
    done = subprocess.run(
        [*start_ranks(ranks), str(script), str(folder)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("every answer is the same") == ranks


def shift(teacher_folder: Path, seed: int) -> SparseFineTuning:
    """Return an SFT that changes a hundred query weights of the teacher's second layer."""
    name = "roberta.encoder.layer.1.attention.self.query.weight"
    shape = load_file(teacher_folder / "model.safetensors")[name].shape
    generator = torch.Generator().manual_seed(seed)
    indices = torch.randperm(shape.numel(), generator=generator)[:100].sort().values
    return SparseFineTuning(
        f"sft-{seed}", {name: SparseDiff(tuple(shape), indices, torch.randn(100, generator=generator))}
    )


def test_the_teacher_carries_each_languages_sft_and_gets_its_exact_bits_back(make: Make, teacher_folder: Path) -> None:
    sfts = {language: shift(teacher_folder, seed) for seed, language in enumerate(LANGUAGES)}
    trainer = make(keep={"language_sfts": sfts, "teacher_folder": teacher_folder})
    original = load_file(teacher_folder / "model.safetensors")
    with_sfts, without = trainer.evaluate(), make().evaluate()
    for language in LANGUAGES:
        assert with_sfts[f"eval_{language}_attention_0"] != pytest.approx(
            without[f"eval_{language}_attention_0"], rel=1e-3
        )
        changed = make(keep={})
        sfts[language].apply(changed.distiller.teacher)
        assert with_sfts[f"eval_{language}_loss"] == changed.evaluate()[f"eval_{language}_loss"]
    trainer.train()
    assert trainer.language_switch is not None
    trainer.language_switch.switch_to(None)
    after = trainer.distiller.teacher.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in original.items())


def test_sfts_without_the_teachers_folder_are_refused(make: Make, teacher_folder: Path) -> None:
    with pytest.raises(InputError, match="teacher_folder"):
        make(keep={"language_sfts": {"aa": shift(teacher_folder, 0), "bb": None}})
