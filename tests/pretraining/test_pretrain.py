"""Test that pretraining learns, repeats to the bit, and reports bad input in one line."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    GPT2Config,
    PreTrainedTokenizerFast,
    Trainer,
    XLMRobertaConfig,
)

from bistil_ds.commands.pretrain import main
from bistil_ds.errors import InputError, NonFiniteError
from bistil_ds.pretraining.data import chunk, pair_lines, read_lines
from bistil_ds.pretraining.embedding_init import cooccurrence_vectors
from bistil_ds.pretraining.masked_accuracy import masked_accuracy
from bistil_ds.pretraining.pretrain import Recipe, pretrain
from bistil_ds.runs.bounded import LONGEST_LINE
from bistil_ds.runs.cache import file_hash
from bistil_ds.sample import write_text

TINY = Recipe(vocab_size=500, layers=1, hidden_size=32, heads=2, max_positions=32, steps=60, batch_size=8, length=32,
              learning_rate=1e-2)  # fmt: skip


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_text(tmp_path_factory.mktemp("text"), sentences=400, seed=5)


@pytest.fixture(scope="module")
def trained(texts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    folder = tmp_path_factory.mktemp("trained")
    return folder, pretrain(texts, folder, TINY, parallel=True, progress=False)


def test_the_loss_falls(trained: tuple[Path, list[float]]) -> None:
    losses = trained[1]
    assert losses[-1] < 0.9 * losses[0]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(
    texts: dict[str, Path], trained: tuple[Path, list[float]], tmp_path: Path
) -> None:
    before = torch.get_rng_state()
    pretrain(texts, tmp_path / "again", TINY, parallel=True, progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    pretrain(texts, tmp_path / "other", replace(TINY, seed=1), parallel=True, progress=False)
    first, again, other = (
        file_hash(f / "model.safetensors") for f in (trained[0], tmp_path / "again", tmp_path / "other")
    )
    assert first == again != other
    assert file_hash(trained[0] / "tokenizer.json") == file_hash(tmp_path / "again" / "tokenizer.json")


def test_bf16_computes_in_bfloat16_and_saves_float32(texts: dict[str, Path], tmp_path: Path) -> None:
    seen: set[torch.dtype] = set()

    def watch(trainer: Trainer) -> None:
        layer = trainer.model.roberta.encoder.layer[0].output.dense
        layer.register_forward_hook(lambda module, given, output: seen.add(output.dtype))

    pretrain(texts, tmp_path, replace(TINY, steps=2, bf16=True), progress=False, watch=watch)
    assert seen == {torch.bfloat16}
    assert AutoModelForMaskedLM.from_pretrained(tmp_path, dtype="auto").dtype == torch.float32


def test_a_batch_without_masked_tokens_has_a_loss_of_0(texts: dict[str, Path], tmp_path: Path) -> None:
    recipe = replace(TINY, steps=3, batch_size=1, length=8, mask_probability=1e-9)
    assert pretrain(texts, tmp_path, recipe, progress=False) == [0.0] * 3


def test_a_model_that_is_not_finite_is_not_saved(texts: dict[str, Path], tmp_path: Path) -> None:
    huge_last_update = replace(TINY, steps=2, learning_rate=1e30)  # the first step warms up
    with pytest.raises(NonFiniteError, match="non-finite weights after step 2, rank 0, chunks 8 to 15: "):
        pretrain(texts, tmp_path / "model", huge_last_update, progress=False)
    assert not (tmp_path / "model").exists()


def test_the_tokenizer_has_the_layout_of_xlmr_and_gives_the_text_back(
    texts: dict[str, Path], trained: tuple[Path, list[float]]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained[0])
    model = AutoModelForMaskedLM.from_pretrained(trained[0])
    size = len(tokenizer)
    assert model.config.vocab_size == size
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3, size - 1]) == ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert tokenizer("a", "b")["input_ids"][0] == 0
    assert [i for i in tokenizer("Mwalimu", "Kitap")["input_ids"] if i in (0, 2)] == [0, 2, 2, 2]
    assert tokenizer("Asha <mask>.")["input_ids"].count(size - 1) == 1
    for path in texts.values():
        for line in path.read_text(encoding="utf-8").splitlines():
            ids = tokenizer(line)["input_ids"]
            assert 3 not in ids
            assert tokenizer.decode(ids, skip_special_tokens=True) == line


def test_a_given_tokenizer_and_configuration_are_used(
    trained: tuple[Path, list[float]], texts: dict[str, Path], tmp_path: Path
) -> None:
    given = {lang: texts[lang] for lang in ("en", "tr")}
    pretrain(
        given, tmp_path, replace(TINY, steps=2, hidden_size=64), tokenizer=trained[0], config=trained[0], progress=False
    )
    assert (tmp_path / "tokenizer.json").read_bytes() == (trained[0] / "tokenizer.json").read_bytes()
    assert AutoModelForMaskedLM.from_pretrained(tmp_path).config.hidden_size == TINY.hidden_size


def test_chunks_lose_nothing_but_the_rest() -> None:
    assert chunk([[0, 5, 2], [0, 6, 7, 2], [0, 2]], 4).tolist() == [[0, 5, 2, 0], [6, 7, 2, 0]]


def test_pairs_are_of_one_line_and_two_languages() -> None:
    lines = {lang: [f"{lang}{i}" for i in range(50)] for lang in ("en", "sw", "tr")}
    lines["en"][3] = lines["tr"][3] = ""
    pairs = pair_lines(lines, random.Random(0))
    assert all(a[:2] != b[:2] and a[2:] == b[2:] for a, b in pairs)
    assert len({(a[:2], b[:2]) for a, b in pairs}) == 6


def test_masked_accuracy_is_that_of_a_known_answer(trained: tuple[Path, list[float]]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained[0])
    model = AutoModelForMaskedLM.from_pretrained(trained[0])
    period = tokenizer.convert_tokens_to_ids(".")
    with torch.no_grad():
        model.lm_head.bias[period] = 1e4  # makes every answer "."
    lines = ["Asha alisoma.", "Ali okudu.", "She reads."] * 20
    score = masked_accuracy(model, tokenizer, lines, probability=0.5)
    assert 0 < score["accuracy"] <= score["most_frequent"] < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input_folder", "{}/absent"], "no such folder"),
        (["--input_folder", "{}/none"], "holds no files called <language>.txt, <language>.jsonl"),
        (["--input_folder", "{}/broken"], "aa.txt, line 2 is not UTF-8"),
        (["--input_folder", "{}/empty"], "holds no text"),
        (["--input_folder", "{}/short"], "less text than one chunk"),
        (["--input_folder", "{}/uneven", "--parallel"], "as many lines"),
        (["--input_folder", "{}/uneven", "--hidden_size", "33"], "--heads"),
        (["--input_folder", "{}/uneven", "--steps", "0"], "--steps"),
        (["--input_folder", "{}/uneven", "--tokenizer", "{}/none"], "--tokenizer"),
        (["--input_folder", "{}/uneven", "--vocab_size", "5"], "--vocab_size"),
        (["--input_folder", "{}/uneven", "--output_dir", "{}/uneven"], "not empty"),
        (["--no_such_flag", "1"], "no_such_flag"),
        (["--input_folder", "{}/apart", "--parallel"], "--parallel: lines with text in two languages have less"),
        (["--input_folder", "{}/nearly", "--parallel"], "--parallel: lines with text in two languages have less"),
        (["--input_folder", "{}/uneven", "--config", "{}/xlmr"], "--length 64: {}/xlmr takes at most 6 tokens"),
        (["--input_folder", "{}/uneven", "--config", "{}/gpt2"], "--config {}/gpt2: is a gpt2 model; give an encoder"),
        (
            ["--input_folder", "{}/uneven", "--tokenizer", "{}/gpt2", "--length", "9"],
            "--tokenizer {}/gpt2: has no mask token",
        ),
        (["--input_folder", "{}/uneven", "--config", "{}/xlmr", "--heads", "4"], "--heads 4: has no effect: --config"),
        (
            ["--input_folder", "{}/uneven", "--tokenizer", "x", "--vocab_size", "9"],
            "--vocab_size 9: has no effect: --t",
        ),
        (["--input_folder", "{}/uneven", "--parallel_share", "0.1"], "--parallel_share 0.1: has no effect: there is"),
    ],
)
def test_bad_input_ends_in_one_line_and_code_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    files = {"broken/aa.txt": b"good\n\xff\n", "empty/aa.txt": b"\n\n", "short/aa.txt": b"one two\n" * 2,
             "uneven/aa.txt": b"some words here\n" * 60, "uneven/bb.txt": b"other words there\n" * 50,
             "apart/aa.txt": b"some words here\n\n" * 60, "apart/bb.txt": b"\nother words there\n" * 60,
             "nearly/aa.txt": b"x\n" + b"some words here\n\n" * 60,
             "nearly/bb.txt": b"y\n" + b"\nother words there\n" * 60}  # fmt: skip
    XLMRobertaConfig(max_position_embeddings=8).save_pretrained(tmp_path / "xlmr")
    GPT2Config().save_pretrained(tmp_path / "gpt2")
    letters = Tokenizer(models.WordLevel({"<s>": 0, "some": 1, "words": 2, "a": 3}, unk_token="<s>"))
    PreTrainedTokenizerFast(tokenizer_object=letters, unk_token="<s>").save_pretrained(tmp_path / "gpt2")
    (tmp_path / "none").mkdir()
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    sizes = [] if {"--vocab_size", "--tokenizer"} & set(arguments) else ["--vocab_size", "60"]
    assert main([*(argument.format(tmp_path) for argument in arguments), *sizes]) == 2
    error = capsys.readouterr().err
    assert message.format(tmp_path) in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_line_that_is_too_long_is_named(tmp_path: Path) -> None:
    (tmp_path / "aa.txt").write_bytes(b"a\n" + b"b" * (LONGEST_LINE + 1))
    with pytest.raises(InputError, match=r"aa\.txt, line 2 is longer than 16 MiB"):
        read_lines(tmp_path / "aa.txt")


def test_a_byte_order_mark_is_no_text_and_a_nul_is_named(tmp_path: Path) -> None:
    (tmp_path / "aa.txt").write_bytes(b"\xef\xbb\xbfa\r\n\n b\n")
    assert read_lines(tmp_path / "aa.txt") == ["a", "", "b"]
    (tmp_path / "aa.txt").write_bytes(b"a\nb\0\n")
    with pytest.raises(InputError, match=r"--input_folder: .*aa\.txt, line 2 has a NUL"):
        read_lines(tmp_path / "aa.txt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.txt: no such file"):
        pretrain({"en": tmp_path / "absent.txt"}, tmp_path / "out", TINY, progress=False)


@pytest.mark.parametrize("most_dense", [10_000, 0])
def test_words_that_keep_the_same_company_start_close(most_dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bistil_ds.pretraining.embedding_init.MOST_DENSE", most_dense)
    rng = np.random.default_rng(0)
    topic = rng.integers(2, size=(200, 1))
    ids = topic * 10 + rng.integers(10, size=(200, 16))  # words 0 to 9 never occur beside words 10 to 19
    vectors = cooccurrence_vectors([ids], window=5, vocab_size=21, width=8)
    unit = vectors[:20] / np.linalg.norm(vectors[:20], axis=1, keepdims=True)
    likeness = unit @ unit.T
    assert likeness[:10, :10].min() > likeness[:10, 10:].max()
    assert vectors.dtype == np.float32
    assert vectors.std() == pytest.approx(1, abs=1e-4)


def test_counts_of_a_large_vocabulary_give_the_same_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.random.default_rng(0).zipf(1.5, size=(60, 16)) % 30
    dense = cooccurrence_vectors([ids, ids[:9]], window=3, vocab_size=31, width=8)
    monkeypatch.setattr("bistil_ds.pretraining.embedding_init.MOST_DENSE", 30)
    sparse = cooccurrence_vectors([ids, ids[:9]], window=3, vocab_size=31, width=8)
    order = np.abs(dense.T @ sparse).argmax(1)
    assert sorted(order) == list(range(8))
    signs = np.sign((dense * sparse[:, order]).sum(0))  # an eigenvector may point either way
    np.testing.assert_allclose(sparse[:, order] * signs, dense, atol=1e-4)
