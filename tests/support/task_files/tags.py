"""Words in lines with IOB2 tags for the fuzz test, with columns of any kind beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from seqeval.metrics.sequence_labeling import get_entities

from task_files.drawing import Values, blocks_of, draw_words


def make_iob2(rng: Random) -> str:
    separator = rng.choice([" ", "\t"])
    text = rng.choice(["", f"-DOCSTART-{separator}O\n\n"])
    for _ in range(rng.randint(1, 5)):
        tag = "O"
        for word in draw_words(rng):
            kind = rng.choice(["PER", "LOC"])
            tag = rng.choice(["O", f"B-{kind}", "O" if tag == "O" else f"I-{tag[2:]}"])
            text += f"{word.replace(' ', '') if separator == ' ' else word}{separator}{tag}\n"
        text += "\n"
    return text


def make_numbered(rng: Random) -> str:
    """Return a file as those of UNER, with comments, numbers and further columns."""
    text = ""
    for number in range(rng.randint(2, 5)):
        text += f"# sent_id = {number}\n# text = {' '.join(draw_words(rng))}\n"
        words = draw_words(rng)
        begins = rng.randrange(len(words))
        for at, word in enumerate(words):
            tag = "B-PER" if at == begins else "I-PER" if at == begins + 1 else "O"
            text += f"{at + 1}\t{word}\t{tag}\t-\tx\n"
        text += "\n"
    return text


def write_numbered(sentences: Sequence[Values]) -> str:
    rows = [[f"{at}\t{w}\t{t}\n" for at, (w, t) in enumerate(zip(*one, strict=True), 1)] for one in sentences]
    return "".join("".join(lines) + "\n" for lines in rows)


def simple_numbered(text: str) -> list[Values]:
    sentences = []
    for block in blocks_of(text, r"[ \t]*$|-DOCSTART-([ \t]|$)"):
        cells = [[cell.strip(" ") for cell in line.split("\t")] for line in block]
        sentences.append([c for c in cells if c[0][:1] != "#" or (len(c) > 2 and re.fullmatch(TAG, c[2]))])
    rows = [row for cells in sentences for row in cells]
    (width,) = {len(row) for row in rows}
    at = _tag_column(rows, width)
    return [(tuple(c[1] for c in cells), _iob2([c[at] for c in cells])) for cells in sentences if cells]


def _tag_column(rows: list[list[str]], width: int) -> int:
    """Return the last column in which most cells are tags, and if possible not all of these O: damage adds columns."""
    tags = {n: [row[n] for row in rows if re.fullmatch(TAG, row[n])] for n in range(1, width)}
    likely = [n for n, cells in tags.items() if len(cells) * 2 > len(rows)]
    return ([n for n in likely if set(tags[n]) != {"O"}] or likely or [width - 1])[-1]


def write_iob2(sentences: Sequence[Values]) -> str:
    return "".join("".join(f"{w}\t{t}\n" for w, t in zip(*one, strict=True)) + "\n" for one in sentences)


def simple_iob2(text: str) -> list[Values]:
    sentences = []
    blocks = blocks_of(text, r"[ \t]*$|-DOCSTART-([ \t]|$)")
    lines = [line for block in blocks for line in block]
    rows = [line for line in lines if line[0] != "#"] or lines  # a comment may have tabs where rows have spaces
    separator = "\t" if any("\t" in line for line in rows) else " +"
    for block in blocks:
        cells = [[cell.strip(" ") for cell in re.split(separator, line.rstrip(" \t"))] for line in block]
        while cells and cells[0][0].startswith("#") and not (len(cells[0]) == 2 and re.fullmatch(TAG, cells[0][1])):
            assert not any(re.fullmatch(TAG, cell) for cell in cells.pop(0)[1:])  # what is dropped is a comment
        sentences.append(cells)
    words = [row for cells in sentences for row in cells]
    (width,) = {len(row) for row in words}  # otherwise a line could hold two tokens
    at = _tag_column(words, width)
    return [(tuple(c[0] for c in cells), _iob2([c[at] for c in cells])) for cells in sentences if cells]


TAG = "O|[BIS]-.+"


def _iob2(tags: list[str]) -> tuple[str, ...]:
    """Return the tags whose entities are those that seqeval finds in tags of any scheme."""
    found = ["O"] * len(tags)
    for kind, start, end in get_entities(tags):
        found[start : end + 1] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start)
    return tuple(found)
