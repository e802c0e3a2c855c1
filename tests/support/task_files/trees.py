"""CoNLL-U for the fuzz test: trees, and words with their UPOS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from task_files.drawing import Values, blocks_of, draw_words


def make_conllu(rng: Random) -> str:
    text = ""
    for number in range(rng.randint(1, 4)):
        words = draw_words(rng)
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
    for block in blocks_of(text):  # every line with a HEAD is a word, whatever its number is
        cells = [line.split("\t") for line in block if line[0] != "#" and line.split("\t")[6] != "_"]
        words, upos = tuple(c[1] for c in cells), tuple(c[3] for c in cells)
        found.append((words, upos, tuple(int(c[6]) for c in cells), tuple(c[7].split(":")[0] for c in cells)))
    return found


def write_upos(sentences: Sequence[Values]) -> str:
    return write_trees([(words, tags, ["_"] * len(words), ["_"] * len(words)) for words, tags in sentences])


def simple_upos(text: str) -> list[Values]:
    cells = [[line.split("\t") for line in block if re.match(r"[0-9]+\t", line)] for block in blocks_of(text)]
    return [(tuple(c[1] for c in lines), tuple(c[3] for c in lines)) for lines in cells]
