"""Formats of task data for the fuzz test: makers of random valid files, writers, and simple readers to compare with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from reading import Reader
from seqeval.metrics.sequence_labeling import get_entities

from bistil_ds.tasks.readers import read_pairs, read_questions, read_tagged, read_texts, read_trees, read_upos

WORDS = [
    "a",
    "Ada",
    "x1",
    "ß",
    "ağaç",
    "العربية",
    "日本",
    "10 000",
    "#",
    "_",
    '"',
    "l'",
    "\u200b",
    "e\u0301",
    "😀",
    "O",
]
LABELS = ["entailment", "neutral", "contradiction"]
Values = tuple[Any, ...]


@dataclass(frozen=True)
class Format:
    """A format of task data: how its files are made, written and read a second time.

    Attributes:
        make: returns the text of a random valid file.
        write: returns the text of the canonical file of some examples, each a tuple of its values.
        simple: reads the examples' values without any check, from text that the real reader accepted.
    """

    name: str
    reader: Reader
    suffix: str
    make: Callable[[Random], str]
    write: Callable[[Sequence[Values]], str]
    simple: Callable[[str], list[Values]]


def _words(rng: Random, most: int = 7) -> list[str]:
    return [rng.choice(WORDS) for _ in range(rng.randint(1, most))]


def _blocks(text: str, border: str = "") -> list[list[str]]:
    """Return the blocks of lines between borders; a border is an empty line or one that matches `border`."""
    lines = ["" if border and re.match(border, line) else line for line in text.split("\n")]
    return [block.split("\n") for block in re.split(r"\n\n+", "\n".join(lines).strip("\n")) if block]


def make_conllu(rng: Random) -> str:
    text = ""
    for number in range(rng.randint(1, 4)):
        words = _words(rng)
        root = rng.randint(1, len(words))
        text += f"# sent_id = {number}\n# text = {''.join(words)}\n" if rng.random() < 0.5 else ""
        for at, word in enumerate(words, 1):
            if rng.random() < 0.1 and at < len(words):
                text += f"{at}-{at}\t{word}" + "\t_" * 8 + "\n"
            head = 0 if at == root else rng.choice([root, at - 1 if at > root else at + 1])
            relation = "root" if at == root else rng.choice(["nsubj", "obl:tmod", "punct"])
            text += f"{at}\t{word}\t_\t{rng.choice(['NOUN', 'VERB', 'X'])}\t_\t_\t{head}\t{relation}\t_\t_\n"
            text += f"{at}.1\t_" + "\t_" * 8 + "\n" if rng.random() < 0.05 else ""
        text += "\n"
    return text


def write_trees(trees: Sequence[Values]) -> str:
    rows = [
        [f"{at}\t{w}\t_\t{u}\t_\t_\t{h}\t{r}\t_\t_\n" for at, (w, u, h, r) in enumerate(zip(*tree, strict=True), 1)]
        for tree in trees
    ]
    return "".join("".join(lines) + "\n" for lines in rows)


def simple_trees(text: str) -> list[Values]:
    found = []
    for block in _blocks(text):  # every line with a HEAD is a word, whatever its number is
        cells = [line.split("\t") for line in block if line[0] != "#" and line.split("\t")[6] != "_"]
        words, upos = tuple(c[1] for c in cells), tuple(c[3] for c in cells)
        found.append((words, upos, tuple(int(c[6]) for c in cells), tuple(c[7].split(":")[0] for c in cells)))
    return found


def write_upos(sentences: Sequence[Values]) -> str:
    return write_trees([(words, tags, ["_"] * len(words), ["_"] * len(words)) for words, tags in sentences])


def simple_upos(text: str) -> list[Values]:
    cells = [[line.split("\t") for line in block if re.match(r"[0-9]+\t", line)] for block in _blocks(text)]
    return [(tuple(c[1] for c in lines), tuple(c[3] for c in lines)) for lines in cells]


def make_iob2(rng: Random) -> str:
    separator = rng.choice([" ", "\t"])
    text = rng.choice(["", f"-DOCSTART-{separator}O\n\n"])
    for _ in range(rng.randint(1, 5)):
        tag = "O"
        for word in _words(rng):
            kind = rng.choice(["PER", "LOC"])
            tag = rng.choice(["O", f"B-{kind}", "O" if tag == "O" else f"I-{tag[2:]}"])
            text += f"{word.replace(' ', '') if separator == ' ' else word}{separator}{tag}\n"
        text += "\n"
    return text


def make_numbered(rng: Random) -> str:
    """Return a file as those of UNER, with comments, numbers and further columns."""
    text = ""
    for number in range(rng.randint(2, 5)):
        text += f"# sent_id = {number}\n# text = {' '.join(_words(rng))}\n"
        words = _words(rng)
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
    for block in _blocks(text, r"[ \t]*$|-DOCSTART-([ \t]|$)"):
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
    blocks = _blocks(text, r"[ \t]*$|-DOCSTART-([ \t]|$)")
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


def make_tsv(rng: Random) -> str:
    names = rng.choice([["premise", "hypothesis", "label"], ["gold_label", "id", "sentence1", "sentence2"]])
    rows = [names]
    for _ in range(rng.randint(1, 6)):
        rows.append([rng.choice(LABELS) if "label" in name else " ".join(_words(rng)) for name in names])
    return "".join("\t".join(row) + "\n" for row in rows)


def simple_tsv(text: str) -> list[Values]:
    header, *rows = [line.split("\t") for line in text.split("\n") if line]
    if header[-1].strip().lower() in [*LABELS, "-"] and len(header) == 3:
        header, rows = ["premise", "hypothesis", "label"], [header, *rows]
    assert all(len(row) == len(header) for row in rows)
    at = [next(header.index(n) for n in names if n in header) for names in (PREMISE, HYPOTHESIS, LABEL)]
    return _labelled([tuple(row[i] for i in at) for row in rows])


PREMISE, HYPOTHESIS, LABEL = ("premise", "sentence1"), ("hypothesis", "sentence2"), ("label", "gold_label")


def _labelled(pairs: list[Values]) -> list[Values]:
    named = [(premise, hypothesis, str(label).strip().lower()) for premise, hypothesis, label in pairs]
    letters = {label[0]: label for label in LABELS}  # as in ANLI, and in a file that is cut off
    return [(*pair[:2], letters.get(pair[2], pair[2])) for pair in named if pair[2] not in ("-", "-1")]


def make_pairs_jsonl(rng: Random) -> str:
    row = lambda: {"premise": " ".join(_words(rng)), "hypothesis": rng.choice(WORDS), "label": rng.choice(LABELS)}  # noqa: E731
    return "".join(
        json.dumps(row() | {"id": n}, ensure_ascii=rng.random() < 0.5) + "\n" for n in range(rng.randint(1, 5))
    )


def write_pairs_jsonl(pairs: Sequence[Values]) -> str:
    return "".join(
        json.dumps(dict(zip(("premise", "hypothesis", "label"), pair, strict=True))) + "\n" for pair in pairs
    )


def simple_pairs_jsonl(text: str) -> list[Values]:
    try:
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    except json.JSONDecodeError:  # an object that goes over several lines
        rows = [json.loads(text)]
    return _labelled(
        [tuple(next(row[n] for n in names if n in row) for names in (PREMISE, HYPOTHESIS, LABEL)) for row in rows]
    )


def make_squad(rng: Random) -> str:
    paragraphs = []
    for number in range(rng.randint(1, 3)):
        words = _words(rng, 12)
        context = " ".join(words)
        questions: list[dict[str, Any]] = []
        for at in range(rng.randint(0 if number else 1, 3)):
            word = rng.choice(words)
            question = {"id": f"q{number}{at}", "question": rng.choice(WORDS)}
            if not (none := rng.random() < 0.2):
                question["answers"] = [{"text": word, "answer_start": context.index(word)}] * rng.randint(1, 2)
            questions.append(question | ({"answers": [], "is_impossible": True} if none else {}))
        paragraphs.append({"context": context, "qas": questions})
    cut = rng.randrange(len(paragraphs))
    data = [{"title": "t", "paragraphs": paragraphs[:cut]}, {"paragraphs": paragraphs[cut:]}]
    return json.dumps({"version": "v2.0", "data": data}, ensure_ascii=False, indent=rng.choice([None, 1]))


def write_squad(questions: Sequence[Values]) -> str:
    paragraphs = []
    for name, question, context, answers in questions:
        listed = [{"text": text, "answer_start": start} for text, start in answers]
        one = {"id": name, "question": question, "answers": listed, "is_impossible": not listed}
        paragraphs.append({"context": context, "qas": [one]})
    return json.dumps({"data": [{"paragraphs": paragraphs}]})


def simple_squad(text: str) -> list[Values]:
    return [
        (str(q["id"]), q["question"], p["context"], tuple(_placed(a, p["context"]) for a in q.get("answers") or ()))
        for article in json.loads(text)["data"]
        for p in article["paragraphs"]
        for q in p["qas"]
    ]


def _placed(answer: dict[str, Any], context: str) -> tuple[str, int]:
    """Return the answer where it stands in the context: as it says, or else at its only occurrence."""
    start = int(answer["answer_start"])
    if context[start : start + len(answer["text"])] != answer["text"] or start < 0:
        assert len(re.findall(f"(?={re.escape(answer['text'])})", context)) == 1
        start = context.index(answer["text"])
    return answer["text"], start


def make_text(rng: Random) -> str:
    return "".join(rng.choice(["", " ".join(_words(rng))]) + "\n" for _ in range(rng.randint(1, 8))) + "end\n"


def simple_text(text: str) -> list[Values]:
    return [(line.rstrip("\r"),) for line in text.split("\n") if line.strip()]


FORMATS = [
    Format("trees", read_trees, ".conllu", make_conllu, write_trees, simple_trees),
    Format("upos", read_upos, ".conllu", make_conllu, write_upos, simple_upos),
    Format("tagged", read_tagged, ".iob2", make_iob2, write_iob2, simple_iob2),
    Format("numbered", read_tagged, ".uner", make_numbered, write_numbered, simple_numbered),
    Format(
        "pairs",
        read_pairs,
        ".tsv",
        make_tsv,
        lambda pairs: "".join("\t".join(row) + "\n" for row in [("premise", "hypothesis", "label"), *pairs]),
        simple_tsv,
    ),
    Format("pairs in JSONL", read_pairs, ".jsonl", make_pairs_jsonl, write_pairs_jsonl, simple_pairs_jsonl),
    Format("questions", read_questions, ".json", make_squad, write_squad, simple_squad),
    Format("texts", read_texts, ".txt", make_text, lambda texts: "".join(f"{t}\n" for (t,) in texts), simple_text),
]
