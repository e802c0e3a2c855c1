"""Good files of each task, in the forms in which they are published."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from random import Random
from typing import Any

from task_files.drawing import WORDS, draw_words
from task_files.formats import make_text
from task_files.pairs import LABELS, make_pairs_jsonl, make_tsv
from task_files.questions import make_squad
from task_files.tags import make_iob2, make_numbered
from task_files.trees import make_conllu

File = tuple[str, str]  # the ending of its name, and its text


def _tags(rng: Random, words: int) -> list[str]:
    return [rng.choice(["O", "O", "B-PER", "I-PER", "B-LOC", "S-LOC", "E-PER", "I-LOC"]) for _ in range(words)]


def _rows(rng: Random, rows: list[Any]) -> File:
    """Return objects as JSON lines, as one list, or as a list under `data`."""
    dump = json.dumps
    match rng.randrange(4):
        case 0:
            return ".json", dump(rows, indent=rng.choice([None, 1]))
        case 1:
            return ".json", dump({"version": "1", "data": rows})
        case _:
            return ".jsonl", "\n".join(dump(row, ensure_ascii=rng.random() < 0.5) for row in rows)


def _table(rng: Random, rows: list[dict[str, str]]) -> File:
    """Return rows as a table: tabs without quotes, or CSV; with a header or, now and then, without."""
    names = list(rows[0])
    lines = [*([names] if rng.random() < 0.8 else []), *([row[name] for name in names] for row in rows)]
    if rng.random() < 0.4:
        return ".tsv", "".join("\t".join(line) + "\n" for line in lines)
    file = io.StringIO()
    quoting = rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    csv.writer(file, delimiter=rng.choice(",;\t"), quoting=quoting, lineterminator="\n").writerows(lines)
    return ".csv", file.getvalue()


def json_tagged(rng: Random) -> File:
    rows = []
    for _ in range(rng.randint(1, 4)):
        words = draw_words(rng)
        tags = [rng.randrange(3) for _ in words] if rng.random() < 0.2 else _tags(rng, len(words))
        rows.append({rng.choice(["tokens", "words"]): words, rng.choice(["tags", "ner_tags"]): tags, "language": "en"})
    return _rows(rng, rows if rng.random() < 0.3 else [dict(zip(rows[0], row.values())) for row in rows])


def json_trees(rng: Random) -> File:
    rows = []
    for _ in range(rng.randint(1, 3)):
        words = draw_words(rng)
        heads: list[Any] = list(range(len(words)))
        heads = [str(head) for head in heads] if rng.random() < 0.5 else heads
        relations = ["root", *["dep"] * (len(words) - 1)]
        rows.append({"tokens": words, "upos": ["X"] * len(words), "head": heads, "deprel": relations})
    return _rows(rng, rows)


def wild_trees(rng: Random) -> File:
    """Return CoNLL-U with any heads."""
    lines = []
    for _ in range(rng.randint(1, 3)):
        words = draw_words(rng, 4)
        for number, word in enumerate(words, 1):
            head = rng.randrange(len(words) + (rng.random() < 0.05) + 1)
            relation = rng.choice(["root", "dep"]) if rng.random() < 0.1 else "dep" if head else "root"
            lines.append(f"{number}\t{word}\t_\tX\t_\t_\t{head}\t{relation}\t_\t_")
        lines.append("")
    return ".conllu", "\n".join(lines)


def conll_2003(rng: Random) -> File:
    lines = ["-DOCSTART- -X- -X- O", ""]
    for _ in range(rng.randint(1, 4)):
        words = draw_words(rng)
        for word, tag in zip(words, _tags(rng, len(words))):
            lines.append(f"{word.replace(' ', '_')} NN {rng.choice(['B-NP', 'I-NP', 'O'])} {tag}")
        lines.append("")
    return ".conll", "\n".join(lines)


def with_languages(rng: Random) -> File:
    language, lines = rng.choice(["en", "de", "simple", "zh-yue"]), []
    for _ in range(rng.randint(1, 4)):
        words = draw_words(rng)
        lines += [f"{language}:{word}\t{tag}" for word, tag in zip(words, _tags(rng, len(words)))] + [""]
        language = rng.choice([language, language, "tr"])
    return ".bio", "\n".join(lines)


def upos_columns(rng: Random) -> File:
    separator, lines = rng.choice("\t "), []
    for number in range(rng.randint(1, 4)):
        lines += [f"# id s{number} domain=en"] * rng.randint(0, 1)
        lines += [f"{word.replace(' ', '')}{separator}{rng.choice(['NOUN', 'X', 'VERB'])}" for word in draw_words(rng)]
        lines.append("")
    return ".txt", "\n".join(lines)


def pairs_table(rng: Random) -> File:
    names = rng.choice([("premise", "hypothesis", "label"), ("sentence1", "sentence2", "gold_label")])
    more = rng.choice([{}, {}, {"language": rng.choice(["en", "de", "tr"])}, {"pairID": "1"}])
    labels = rng.choice([LABELS, ["e", "n", "c"], ["0", "1", "2"], ["entails", "neutral"], ["-", *LABELS]])
    rows = []
    for _ in range(rng.randint(1, 6)):
        cells = [" ".join(draw_words(rng)), rng.choice(WORDS), rng.choice(labels)]
        rows.append({**dict(zip(names, cells)), **more})
    return _table(rng, rows)


def flat_questions(rng: Random) -> File:
    rows: list[dict[str, Any]] = []
    name = rng.choice(["q{}", "arabic-2387335860751143628-{}", "english--2387335860751143628-{}"])
    for number in range(rng.randint(1, 4)):
        words = draw_words(rng)
        context, word = " ".join(words), rng.choice(words)
        start: Any = context.index(word) + rng.choice([0, 0, 0, 1, -1, 99])
        answers: Any = {"text": [word], "answer_start": [rng.choice([start, start, str(start)])]}
        answers = rng.choice([answers, answers, {"text": [], "answer_start": []}, [{"text": "", "answer_start": -1}]])
        rows.append({"id": name.format(number), "context": context, "question": "q", "answers": answers})
        rows[-1] |= rng.choice([{}, {}, {}, {"language": "en"}, {"is_impossible": rng.choice([True, False, "no"])}])
    return _rows(rng, rows)


def scored_pairs(rng: Random) -> File:
    names = rng.choice([("sentence1", "sentence2", "score"), ("sentence_A", "sentence_B", "relatedness_score")])
    rows = []
    for number in range(rng.randint(1, 6)):
        score = rng.choice([str(number), f"{number}.5", "1e3", "-0.0", "1_0"])
        rows.append(dict(zip(names, (" ".join(draw_words(rng)), rng.choice(WORDS), score))))
    return _table(rng, rows) if rng.random() < 0.6 else _rows(rng, rows)


def beir(rng: Random) -> dict[str, str]:
    documents = [{"_id": f"d{n}", "title": rng.choice(["", "T"]), "text": " ".join(draw_words(rng))} for n in range(4)]
    queries = [{"_id": f"q{n}", "text": rng.choice(WORDS)} for n in range(3)]
    lines = ["query-id\tcorpus-id\tscore"] if rng.random() < 0.8 else []
    lines += [f"q{rng.randrange(3)}\td{rng.randrange(4)}\t{rng.choice([0, 1, 1, 2])}" for _ in range(4)]
    return {
        "corpus.jsonl": "\n".join(map(json.dumps, documents)),
        "queries.jsonl": "\n".join(map(json.dumps, queries)),
        "qrels/test.tsv": "\n".join(lines) + "\n",
    }


def parallel(rng: Random) -> dict[str, str]:
    lines = rng.choice([1, 3, 8])
    return {f"{name}.txt": "".join(f"{' '.join(draw_words(rng))}\n" for _ in range(lines)) for name in "ab"}


def plain(rng: Random) -> File:
    return ".txt", make_text(rng)


def _ending(ending: str, text_of: Callable[[Random], str]) -> Callable[[Random], File]:
    return lambda rng: (ending, text_of(rng))


Maker = Callable[[Random], File]
MAKERS: dict[str, list[Maker]] = {
    "ner": [_ending(".iob2", make_iob2), _ending(".uner", make_numbered), json_tagged, conll_2003, with_languages],
    "pos": [_ending(".conllu", make_conllu), _ending("", make_conllu), upos_columns, json_trees],
    "dp": [_ending(".conllu", make_conllu), json_trees, wild_trees],
    "nli": [_ending(".tsv", make_tsv), _ending(".jsonl", make_pairs_jsonl), pairs_table, pairs_table],
    "qa": [_ending(".json", make_squad), flat_questions, flat_questions],
    "mlm": [plain, lambda rng: _rows(rng, [{"text": " ".join(draw_words(rng))} for _ in range(3)])],
    "embed": [plain],
    "scored": [scored_pairs],
}
FOLDERS: dict[str, Callable[[Random], dict[str, str]]] = {"beir": beir, "parallel": parallel}
