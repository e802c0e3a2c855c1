"""Test readers on damaged files: a right result or one clear line, never a traceback, a hang or a lost sentence.

Accepted files are compared with a second, simple reader of the same bytes, and written out and read again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import FLAG, values_of
from task_files import damage
from task_files.drawing import Values
from task_files.formats import FORMATS, Format

from bistil_ds.errors import InputError
from bistil_ds.tasks import ReadOptions

DAMAGES = ("none", "bytes", "columns", "ids", "tags", "structure", "encoding", "size")
PLACE = re.compile(
    r"line \d|row \d|\[\d|data is |holds no |has no |no column |not a whole gzip file|not JSON|nested|twice|columns? \d"
    r"|columns w|is UTF-|ends its lines"
)
CELL_EDITS = {"columns": damage.edit_columns, "ids": damage.edit_numbers, "tags": damage.edit_tags}


def damaged(form: Format, kind: str, rng: Random) -> tuple[bytes, str]:
    """Return a damaged file and its suffix."""
    text = form.make(rng)
    if kind == "none":
        return text.encode(), form.suffix
    if kind in CELL_EDITS and form.suffix == ".json":
        return damage.dumped(rng, damage.damage_json(rng, json.loads(text), damage.JSON_VALUES[kind])).encode(), ".json"
    if kind in CELL_EDITS and form.suffix == ".jsonl":
        rows: Any = damage.damage_json(rng, [json.loads(line) for line in text.splitlines()], damage.JSON_VALUES[kind])
        return "\n".join(damage.dumped(rng, row) for row in rows).encode(), ".jsonl"
    if kind in CELL_EDITS:
        return damage.damage_cells(rng, text, CELL_EDITS[kind]), form.suffix
    if kind == "encoding" and rng.random() < 0.2:
        return damage.damage_gzip(rng, text.encode()), f"{form.suffix}.gz"
    return getattr(damage, f"damage_{kind}")(rng, text), form.suffix


def values(form: Format, path: Path) -> list[tuple[int, Values]]:
    """Return the line and the values of every example."""
    examples = form.reader(str(path), ReadOptions(FLAG))
    return [(e.place.line, values_of(e)) for e in examples]


def check(form: Format, folder: Path, content: bytes, suffix: str) -> str:
    """Return `accepted` or `refused`; raise AssertionError if the result or the message is wrong."""
    path = folder / f"damaged{suffix}"
    path.write_bytes(content)
    try:
        found = values(form, path)
    except InputError as error:
        message = str(error)
        assert message.startswith(f"{FLAG}: {path}"), message
        assert message.isprintable(), message
        assert PLACE.search(message), message
        assert len(message) < len(str(path)) + 600, message
        return "refused"
    assert found
    text = (gzip.decompress(content) if suffix.endswith(".gz") else content).decode("utf-8-sig")
    text = re.sub(r"\r+\n", "\n", text).rstrip("\r\n")
    assert [example for _, example in found] == form.simple(text)
    if form.suffix in (".conllu", ".iob2", ".tsv"):
        lines = text.split("\n")
        assert all((one[0] if isinstance(one[0], str) else one[0][0]) in lines[line - 1] for line, one in found)
    again = folder / f"again{form.suffix}"
    again.write_bytes(form.write([example for _, example in found]).encode("utf-8-sig"))
    assert [example for _, example in values(form, again)] == [example for _, example in found]
    return "accepted"


def fuzz(form: Format, folder: Path, files: int) -> Counter[tuple[str, str]]:
    """Check damaged files, the same ones in every run, and count the distinct ones by kind and outcome."""
    counts: Counter[tuple[str, str]] = Counter()
    seen: set[bytes] = set()

    @settings(
        max_examples=files,
        derandomize=True,
        database=None,
        deadline=timedelta(seconds=30),
        suppress_health_check=list(HealthCheck),
    )
    @given(kind=st.sampled_from(DAMAGES), seed=st.integers(0, 2**64 - 1))
    def run(kind: str, seed: int) -> None:
        content, suffix = damaged(form, kind, Random(f"{kind} {seed}"))
        outcome = check(form, folder, content, suffix)
        assert kind != "none" or outcome == "accepted"
        digest = hashlib.blake2b(content).digest()
        counts[kind, outcome] += digest not in seen
        seen.add(digest)

    run()
    return counts


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_a_hundred_damaged_files_are_read_right_or_refused(form: Format, tmp_path: Path) -> None:
    counts = fuzz(form, tmp_path, 100)
    assert counts["none", "accepted"] > 0
    assert sum(count for (_, outcome), count in counts.items() if outcome == "refused") > 5  # of texts about 10


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_ten_thousand_damaged_files_are_read_right_or_refused(form: Format, tmp_path: Path) -> None:
    counts = fuzz(form, tmp_path, 14_000)
    for kind in DAMAGES:
        print(f"{form.name:15} {kind:10} accepted {counts[kind, 'accepted']:5}  refused {counts[kind, 'refused']:5}")
    assert sum(count for (kind, _), count in counts.items() if kind != "none") >= 10_000
    assert all(counts[kind, "accepted"] for kind in DAMAGES)
    assert all(counts[kind, "refused"] for kind in ("bytes", "encoding", "size"))
