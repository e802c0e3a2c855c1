"""Test that texts are packed into chunks of one length, which are cached."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset
from text_forms import write
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from bistil_ds.errors import InputError
from bistil_ds.text import (
    load_texts,
    pack,
)


@pytest.fixture(scope="module")
def letters() -> PreTrainedTokenizerFast:
    """Return a tokenizer with a token for each letter, [CLS] … [SEP] around a text, and a maximum of four tokens."""
    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[CLS]", "[SEP]", "[UNK]", *"abcdefghijklmnop"])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        model_max_length=4,
    )


def test_chunks_are_the_texts_with_their_special_tokens_end_to_end(letters: PreTrainedTokenizerFast) -> None:
    texts = Dataset.from_dict({"text": ["abc", "", "de", "  ", "fghij", "k"]})
    expected = [i for text in ("abc", "de", "fghij", "k") for i in letters(text, verbose=False)["input_ids"]]
    chunks = pack(texts, letters, 4, progress=False)
    packed = chunks["input_ids"][:]
    assert [len(chunk) for chunk in packed] == [4] * (len(expected) // 4)
    assert [i for chunk in packed for i in chunk] == expected[: len(expected) // 4 * 4]
    assert chunks.features["input_ids"].feature.dtype == "int32"


def test_packing_neither_depends_on_workers_and_batches_nor_cuts_at_their_borders(
    letters: PreTrainedTokenizerFast, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = Dataset.from_dict({"text": [chr(97 + i % 16) * (i % 7) for i in range(400)]})
    whole = pack(texts, letters, 5, num_proc=1, progress=False)["input_ids"][:]
    for workers, at_once, written in [(1, 3, 1), (4, 7, 40), (3, 1000, 12)]:
        next(cache.glob("chunks-*/*.arrow")).unlink()
        monkeypatch.setattr("bistil_ds.vocabulary.encoding.BATCH_TEXTS", at_once)
        monkeypatch.setattr("bistil_ds.text.packing.TOKENS_WRITTEN", written)
        assert pack(texts, letters, 5, num_proc=workers, progress=False)["input_ids"][:] == whole


def test_a_length_below_one_and_a_slow_tokenizer_are_refused(letters: PreTrainedTokenizerFast) -> None:
    texts = Dataset.from_dict({"text": ["abc"]})
    with pytest.raises(InputError, match="--max_length 0"):
        pack(texts, letters, 0)

    class Slow:
        is_fast, name_or_path = False, "some/model"

    with pytest.raises(InputError, match=r"some/model has no tokenizer\.json"):
        pack(texts, Slow(), 4)  # type: ignore[arg-type]


def test_packing_is_cached_by_texts_tokenizer_and_length(letters: PreTrainedTokenizerFast, cache: Path) -> None:
    texts = Dataset.from_dict({"text": ["abcdef"] * 9})
    first = pack(texts, letters, 4, progress=False)
    padding, truncation = letters.backend_tokenizer.padding, letters.backend_tokenizer.truncation
    # the tokenizer keeps these settings as its state
    letters(["a", "bcdefgh"], padding=True, truncation=True, max_length=3)
    assert letters.backend_tokenizer.truncation != truncation
    assert letters.backend_tokenizer.padding != padding
    assert pack(texts, letters, 4, progress=False)._fingerprint == first._fingerprint
    assert len(list(cache.glob("*/*.arrow"))) == 1
    cased = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(letters.backend_tokenizer.to_str()))
    cased.backend_tokenizer.normalizer = normalizers.NFC()
    keys = {
        pack(*arguments, progress=False)._fingerprint
        for arguments in [(texts, letters, 5), (texts.select([0, 1, 2]), letters, 4), (texts, cased, 4)]
    }
    assert len(keys | {first._fingerprint}) == 4


def test_a_killed_run_leaves_nothing_that_is_taken_for_whole(
    letters: PreTrainedTokenizerFast, cache: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.txt", "abcdefgh\n" * 50)
    tokenizer_folder = tmp_path / "tokenizer"
    letters.save_pretrained(tokenizer_folder)
    code = f"""
import os
from transformers import AutoTokenizer
from bistil_ds.text import load_texts, pack, packing
from bistil_ds.vocabulary import encoding
texts = load_texts({str(path)!r})
encoding.BATCH_TEXTS = packing.TOKENS_WRITTEN = 10
whole = packing.cut
def cut(*arguments, **more):
    for n, chunks in enumerate(whole(*arguments, **more)):
        if n == 3:
            os._exit(9)
        yield chunks
packing.cut = cut
pack(texts, AutoTokenizer.from_pretrained({str(tokenizer_folder)!r}), 4, progress=False)
"""
    killed = subprocess.run([sys.executable, "-c", code], env=os.environ | {"HF_HUB_OFFLINE": "1"})
    assert killed.returncode == 9
    assert list(cache.glob("chunks-*.part"))
    chunks = pack(load_texts(path), PreTrainedTokenizerFast.from_pretrained(tokenizer_folder), 4, progress=False)
    assert len(chunks) == 50 * 10 // 4
    assert not list(cache.glob("*.part"))


def test_texts_longer_than_the_model_are_packed_without_a_warning(
    letters: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    assert len(pack(Dataset.from_dict({"text": ["abcdefghijkl"]}), letters, 7, progress=False)) == 2
    assert not caplog.records
    assert capfd.readouterr().err == ""


def test_real_text_packs_to_what_the_tokenizer_gives(shared: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(shared / "models" / "mini-mmt")
    texts = load_texts(shared / "data" / "text" / "tr.txt").select(range(1500))
    expected = [i for ids in tokenizer(texts["text"][:], verbose=False)["input_ids"] for i in ids]
    packed = [i for chunk in pack(texts, tokenizer, 256, progress=False)["input_ids"] for i in chunk]
    assert packed == expected[: len(expected) // 256 * 256]
