"""Test that text is read from files, checked line by line, and returned as packed, cached chunks."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from bistil_ds.errors import InputError
from bistil_ds.text import (
    check_chunks,
    check_different,
    check_text_file,
    load_texts,
    pack,
    split_validation,
)
from bistil_ds.text.specification import HubDataset, parse_by_language, parse_specification


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


def write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def jsonl(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


# Reading


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl", "a.jsonl.gz"])
def test_every_file_form_gives_the_same_texts(tmp_path: Path, name: str) -> None:
    texts = ["günaydın dünya", "second\u2028line", "three"]
    lines = "\ufeff" + texts[0] + "\r\n\n   \n" + "\n".join(texts[1:])
    records = jsonl({"text": texts[0], "id": 1}, {"text": " "}, {"text": texts[1]}, {"text": texts[2]})
    path = write(tmp_path / name, records if "jsonl" in name else lines)
    check_text_file(path, "--source_file")
    loaded = load_texts(path, name="--source_file")
    assert loaded["text"][:] == texts
    assert loaded.cache_files  # the texts are memory-mapped, not held in memory


def test_a_file_is_read_once_and_again_when_its_content_changes(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path / "a.txt", "one\ntwo\n")
    first = load_texts(path)
    stored = next(cache.glob("texts-*/*.arrow"))
    written = stored.stat().st_mtime_ns
    moved = path.rename(tmp_path / "b.txt")
    assert load_texts(moved)._fingerprint == first._fingerprint
    assert stored.stat().st_mtime_ns == written
    stat = moved.stat()
    write(moved, "one\nTWO\n")  # size and time are the same, so that only the content differs
    os.utime(moved, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert load_texts(moved)["text"][:] == ["one", "TWO"]


def test_a_dataset_of_the_user_passes_with_its_text_column_only() -> None:
    own = Dataset.from_dict({"body": ["x", "y"], "id": [1, 2]})
    assert load_texts(own, text_column="body")[1] == {"text": "y"}
    with pytest.raises(InputError, match=r"no column 'text' \(it has body, id\)"):
        load_texts(own)
    with pytest.raises(InputError, match="int64"):
        load_texts(own, text_column="id")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("wiki/tr", HubDataset("wiki/tr", None, "train")),
        ("wiki/tr:2023.tr", HubDataset("wiki/tr", "2023.tr", "train")),
        ("wiki/tr::test", HubDataset("wiki/tr", None, "test")),
        ("data/tr.txt", Path("data/tr.txt")),
        ("/data/tr", Path("/data/tr")),
        ("tr", Path("tr")),
    ],
)
def test_a_specification_is_a_path_or_a_hub_id(spec: str, expected: object) -> None:
    assert parse_specification(spec) == expected


# Bad input

BAD = {
    "empty.txt": (b"", "holds no text"),
    "blank.txt": (b"\n  \r\n\n", "holds no text"),
    "latin.txt": (b"one\n\ntwo\ncaf\xe9\nfour", r"latin\.txt, line 4 is not UTF-8 \(byte 0xe9\)"),
    "cut.txt": (b"one\ntwo \xc3", r"cut\.txt, line 2 is not UTF-8"),
    "utf16.txt": ("one\ntwo\n".encode("utf-16-le"), r"utf16\.txt, line 1 has a NUL"),
    "plain.gz": (b"not gzip at all", "not a whole gzip file"),
    "cut.txt.gz": (gzip.compress(b"some text\n" * 99)[:-9], "not a whole gzip file"),
    "broken.jsonl": (b'{"text": "a"}\n{"text": \n', r"broken\.jsonl, line 2 is not JSON"),
    "list.jsonl": (b'["a"]\n', "line 1 is not an object"),
    "other.jsonl": (b'{"text": "a"}\n\n{"body": "b"}\n', r"line 3 has no column 'text' \(it has body\)"),
    "number.jsonl": (b'{"text": 3}\n', "line 1: column 'text' is int, not a string"),
    "surrogate.jsonl": (b'{"text": "ok"}\n{"text": "\\ud83d half"}\n', "line 2: the text has an escaped surrogate"),
    "deep.jsonl": (b"[" * 200_000, "line 1 is not JSON"),
    "blank.jsonl": (b'{"text": " "}\n', "holds no text"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_one_line_that_says_where(tmp_path: Path, cache: Path, name: str) -> None:
    content, expected = BAD[name]
    path = tmp_path / name
    path.write_bytes(content)
    for refused in (lambda: check_text_file(path, "--source_file"), lambda: load_texts(path, name="--source_file")):
        with pytest.raises(InputError, match=expected) as caught:
            refused()
        assert str(caught.value).startswith("--source_file: ")
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("check", [check_text_file, lambda path, flag: load_texts(path, name=flag)])
def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path: Path, check: object) -> None:
    with pytest.raises(InputError, match=r"--target_file: there is no file .*absent\.txt"):
        check(tmp_path / "absent.txt", "--target_file")  # type: ignore[operator]
    with pytest.raises(InputError, match="holds no files"):
        check(tmp_path, "--target_file")  # type: ignore[operator]


def test_a_pipe_is_refused_without_reading_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(InputError, match="is a pipe or device"):
        check_text_file(tmp_path / "pipe.txt", "--source_file")
    with pytest.raises(InputError, match="is a pipe or device"):
        load_texts(tmp_path / "pipe.txt")


def test_a_character_across_two_blocks_is_still_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bistil_ds.text.text_files.BLOCK_BYTES", 3)
    check_text_file(write(tmp_path / "a.txt", "aağıçş\n漢字\n"), "--source_file")


def test_a_hub_dataset_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    code = """
from bistil_ds.text import check_text_file, load_texts
from bistil_ds.errors import InputError
for refused in (check_text_file, lambda spec, flag: load_texts(spec, name=flag)):
    try:
        refused("nobody/nothing-here:tr", "--source_file")
    except InputError as error:
        print(error)
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    lines = shown.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("--source_file: no file nobody/nothing-here, and as a hub data set") for line in lines)


def test_one_text_for_two_languages_is_refused(tmp_path: Path) -> None:
    first, second = write(tmp_path / "en.txt", "hello\n"), write(tmp_path / "tr.txt", "selam\n")
    check_different({"--text en": first})
    check_different({"--text en": first, "--text tr": second, "--text ha": "wiki/ha"})
    (tmp_path / "link.txt").symlink_to(first)
    (tmp_path / "hard.txt").hardlink_to(first)
    write(tmp_path / "copy.txt", "hello\n")
    for same in (first, tmp_path / "link.txt", tmp_path / "hard.txt", tmp_path / "copy.txt"):
        with pytest.raises(InputError, match="--text en and --text sw are the same text; give each language a text"):
            check_different({"--text en": first, "--text tr": second, "--text sw": same})
    with pytest.raises(InputError, match="same text"):
        check_different({"--source_file wiki/en": "wiki/en", "--target_file wiki/en::train": "wiki/en::train"})


def test_words_name_a_language_once_and_what_it_has() -> None:
    assert parse_by_language(["en=a=b.txt", "tr=hf:org/name:tr"], "--text", "tr=tr.txt") == {
        "en": "a=b.txt",
        "tr": "hf:org/name:tr",
    }
    for words, message in (
        (["en.txt"], r"--text en\.txt: expected a language and what it has, such as tr=tr\.txt"),
        (["=en.txt"], "--text =en.txt: expected a language"),
        (["en="], "--text en=: expected a language"),
        (["en=a.txt", "tr=b.txt", "en=c.txt"], "--text: en is given twice; give each language once"),
    ):
        with pytest.raises(InputError, match=message):
            parse_by_language(words, "--text", "tr=tr.txt")


def test_too_few_chunks_are_refused() -> None:
    check_chunks(8, 8, "--target_file tr.txt")
    with pytest.raises(InputError, match=r"tr\.txt gives 7 training chunks but one batch needs 8"):
        check_chunks(7, 8, "--target_file tr.txt")


# Packing


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
        monkeypatch.setattr("bistil_ds.text.packing.TEXTS_AT_ONCE", at_once)
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
texts = load_texts({str(path)!r})
packing.TEXTS_AT_ONCE, packing.TOKENS_WRITTEN = 10, 10
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


# Validation


def chunk_rows(dataset: Dataset) -> list[tuple[int, ...]]:
    return [tuple(ids) for ids in dataset["input_ids"]]


@pytest.mark.parametrize(
    ("count", "options", "expected"), [(200, {}, 10), (200, {"most": 3}, 3), (5, {}, 1), (2, {}, 1)]
)
def test_validation_has_its_share_and_the_rest_trains(count: int, options: dict[str, int], expected: int) -> None:
    train, validation = split_validation(
        Dataset.from_dict({"input_ids": [[i, i + 1] for i in range(count)]}), **options
    )
    assert (len(train), len(validation)) == (count - expected, expected)
    assert {*chunk_rows(train), *chunk_rows(validation)} == {(i, i + 1) for i in range(count)}


def test_the_order_of_the_chunks_does_not_change_validation() -> None:
    chunks = Dataset.from_dict({"input_ids": [[i, i * i] for i in range(300)]})
    _, validation = split_validation(chunks)
    train, again = split_validation(chunks.shuffle(seed=7))
    assert chunk_rows(again) == chunk_rows(validation)
    assert len(train) == 285


def test_copies_of_a_validation_chunk_do_not_train() -> None:
    train, validation = split_validation(Dataset.from_dict({"input_ids": [[i % 40, 1] for i in range(120)]}))
    assert len(validation) == 6
    assert len(set(chunk_rows(validation))) == 6
    assert len(train) == 120 - 3 * 6
    assert not set(chunk_rows(train)) & set(chunk_rows(validation))


def test_training_keeps_a_chunk_when_nearly_all_are_alike_and_one_alone_is_refused() -> None:
    train, validation = split_validation(Dataset.from_dict({"input_ids": [[1], [2], *[[2]] * 98]}))
    assert len(validation) == 1
    assert set(chunk_rows(train)).isdisjoint(chunk_rows(validation))
    assert len(train) > 0
    for alike in ([], [[1]], [[1]] * 9):
        with pytest.raises(InputError, match=r"^tr\.txt gives [01] different chunks"):
            split_validation(Dataset.from_dict({"input_ids": alike}), name="tr.txt")
