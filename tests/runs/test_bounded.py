"""Test that lines, whole files, unpacked data and JSON from outside are held to bounds, in one line that says so."""

from __future__ import annotations

import ast
import bz2
import gzip
import io
import json
import lzma
from collections.abc import Iterator
from pathlib import Path

import pytest
from reading_code.import_graph import ROOT

from bistil_ds.errors import InputError
from bistil_ds.runs import bounded
from bistil_ds.runs.bounded import bounded_lines, load_json, parse_json, read_at_most, unpacked_at_most


class Endless(io.RawIOBase):
    """A line that never ends; it counts the bytes that were taken from it."""

    taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        self.taken += len(buffer)
        buffer[:] = b"d" * len(buffer)
        return len(buffer)


def test_lines_keep_their_ends_and_bytes() -> None:
    content = b"a\r\n\nb\xff\0c\n" + b"d" * 100
    assert list(bounded_lines(io.BytesIO(content), "x", 100)) == [b"a\r\n", b"\n", b"b\xff\0c\n", b"d" * 100]


@pytest.mark.parametrize("extra", [1, 1000])
def test_a_line_that_is_too_long_is_named(extra: int) -> None:
    lines = bounded_lines(io.BytesIO(b"ok\n" + b"d" * (2**20 + extra) + b"\n"), "--text a.txt", 2**20)
    assert next(lines) == b"ok\n"
    with pytest.raises(InputError, match=r"^--text a.txt, line 2 is longer than 1 MiB; break it into several lines$"):
        next(lines)


def test_a_line_without_end_takes_no_more_than_the_bound() -> None:
    endless = Endless()
    with pytest.raises(InputError, match="line 1"):
        next(bounded_lines(io.BufferedReader(endless), "x", 2**20))
    assert endless.taken < 2**21


def test_a_whole_file_is_read_up_to_the_bound() -> None:
    assert read_at_most(io.BytesIO(b"12345"), "x", 5) == b"12345"
    with pytest.raises(InputError, match="x is larger than 1 MiB"):
        read_at_most(io.BufferedReader(Endless()), "x", 2**20)


def test_a_device_without_end_is_no_json() -> None:
    with pytest.raises(InputError, match=r"/dev/zero is larger than 64 MiB"):
        load_json(Path("/dev/zero"))


@pytest.mark.parametrize("kind", [gzip, bz2, lzma])
def test_a_packed_file_that_unpacks_to_too_much_is_refused(
    kind: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "texts"
    monkeypatch.setattr(bounded, "SMALL", 2**20)
    for size, is_bomb in ((2**20, False), (2**21, True)):
        with kind.open(path, "wb") as file:  # type: ignore[attr-defined]
            file.write(b"line\n" * (size // 5))
        with kind.open(path, "rb") as file:  # type: ignore[attr-defined]
            lines = unpacked_at_most(file, min(path.stat().st_size, 2**12), "--text texts")
            if is_bomb:
                with pytest.raises(InputError, match=r"^--text texts unpacks to over 1 MiB"):
                    list(lines)
            else:
                assert list(lines) == [b"line\n"] * (size // 5)


def test_a_packed_file_may_grow_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "SMALL", 1)
    packed = 2**12
    allowed = io.BytesIO(bytes(packed * bounded.LARGEST_EXPANSION))
    assert len(unpacked_at_most(allowed, packed, "x").read()) == packed * bounded.LARGEST_EXPANSION
    with pytest.raises(InputError):
        unpacked_at_most(io.BytesIO(bytes(packed * bounded.LARGEST_EXPANSION + 1)), packed, "x").read()


def nested(opening: str, closing: str, depth: int) -> str:
    return opening * depth + closing * depth


def bad_json() -> Iterator[tuple[str, str]]:
    yield from ((nested("[", "]", 100_000), "100 lists and objects"), (nested("[", "]", 102), "100 lists and objects"))
    yield from ((nested('{"a":[', "]}", 51), "100 lists"), (nested('{"a":', "}", 100_000)[:-1], "100 lists"))
    for number in ("NaN", "Infinity", "-Infinity", "1e400", "-1E999"):
        yield f'{{"a": [{number}]}}', f"{number} where a number is expected"
    yield from ((f"[{'9' * count}]", f"a number of {count:,} digits") for count in (301, 5000))


@pytest.mark.parametrize(("text", "message"), list(bad_json()))
def test_json_that_would_break_its_readers_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_json_within_the_bounds_is_what_json_makes_of_it() -> None:
    text = f'{{"a": [1, -2.5e300, 1e-400, true, null, "\\u00e9"], "b": {nested("[", "]", 99)}, "a": 2}}'
    assert parse_json(text) == json.loads(text)
    assert parse_json('{"a": 1, "a": 2}', object_of=tuple) == (("a", 1), ("a", 2))
    assert str(parse_json("[NaN, 1e400]", finite=False)) == "[nan, inf]"


# call → the files that may make it: each of these kinds of file has one reader, with bounds
OF_OURSELVES = "runs/record.py"  # turns its own values into those that a file gives back
# JSON that a tokenizer makes of itself
OF_A_TOKENIZER = (
    "models/tokenizer_folder.py",
    "text/tokens.py",
    "vocabulary/pieces.py",
    "vocabulary/renumbering.py",
)
# DeepSpeed's checkpoints, within `weights_only`
OF_DEEPSPEED = ("distributed/converter.py", "distributed/universal.py")
READERS: dict[str, set[str]] = {
    "json.load": set(),
    "json.loads": {"runs/bounded.py", OF_OURSELVES, *OF_A_TOKENIZER},
    "yaml.load": {"console/yaml_file.py"},
    "yaml.safe_load": set(),
    "torch.load": {"models/sentence_folder.py", "sft/published.py", *OF_DEEPSPEED},
    "pickle.load": set(),
    "pickle.loads": set(),
}


def calls(path: Path) -> set[str]:
    text = path.read_text(encoding="utf-8")
    nodes = ast.walk(ast.parse(text)) if any(call in text for call in READERS) else ()  # parsing all takes long
    return {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)} & READERS.keys()


def test_every_kind_of_file_has_one_reader(tmp_path: Path) -> None:
    package = ROOT / "bistil_ds"
    found = [(call, str(path.relative_to(package))) for path in package.rglob("*.py") for call in calls(path)]
    assert [(call, file) for call, file in found if file not in READERS[call]] == []
    (tmp_path / "x.py").write_text("import json\njson.load(open('x'))\n")
    assert calls(tmp_path / "x.py") == {"json.load"}
