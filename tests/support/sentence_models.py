"""A tiny sentence encoder in the folder form of sentence-transformers, and test sets for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny import text_lines, write_xlmr

# mteb takes the prompt of a task's type, and those of queries and documents for retrieval
PROMPTS = {"query": "ba ", "document": "ke ", "BitextMining": "ba ", "STS": "ba "}
SETS = ("pairs", "scored", "found")


def write_embedder(folder: Path, layers: int = 1, **changes: Any) -> Path:
    """Write an XLM-R with mean pooling, vectors of length 1 and the prompts `PROMPTS`; return `folder`."""
    width = write_xlmr(folder, "Model", layers=layers, **changes).config.hidden_size
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (kind, path) in enumerate(kinds.items())
    ]
    files = {
        "modules.json": modules,
        "1_Pooling/config.json": {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True},
        "config_sentence_transformers.json": {"prompts": PROMPTS, "default_prompt_name": None},
        "sentence_bert_config.json": {"max_seq_length": 48, "do_lower_case": False},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


def parallel_texts() -> tuple[list[str], list[str]]:
    """Return 30 sentences of which two are equal, and the same ones with other words at their ends."""
    one, ends = text_lines("aa", 30, seed=5), text_lines("aa", 30, seed=6)
    one[4] = one[9]
    return one, [" ".join([*a.split()[:-2], *b.split()[-3:]]) for a, b in zip(one, ends, strict=True)]


def scored_pairs() -> list[tuple[str, str, float]]:
    """Return sentences with ever fewer of their words, and scores with ties."""
    return [
        (text, " ".join(text.split()[: 1 + at % 6]), float(at % 6 // 2)) for at, text in enumerate(parallel_texts()[0])
    ]


def retrieval_set() -> tuple[dict[str, str], dict[str, tuple[str, str]], dict[str, dict[str, int]]]:
    """Return queries, documents (title, text), two of them equal and one a query, and judgements with grades."""
    one, other = parallel_texts()
    documents = {f"d{at}": ("" if at % 2 else "lo", text) for at, text in enumerate([*other, *text_lines("bb", 90)])}
    queries = {f"q{at}": one[at] for at in (0, 3, 8, 11, 20)}
    documents["q3"] = ("", queries["q3"])
    judged = {name: {f"d{name[1:]}": 2, "d40": 0, f"d{int(name[1:]) + 1}": 1} for name in queries}
    return queries, documents, judged


def write_test_sets(folder: Path) -> dict[str, str]:
    """Write the three test sets; return name → what `--test_file` takes."""
    (folder / "found" / "qrels").mkdir(parents=True)
    for name, lines in zip(("one.txt", "other.txt"), parallel_texts(), strict=True):
        (folder / name).write_text("\n".join(lines) + "\n")
    rows = ["\t".join(map(str, row)) for row in scored_pairs()]
    (folder / "scored.tsv").write_text("\n".join(["sentence1\tsentence2\tscore", *rows]) + "\n")
    queries, documents, judged = retrieval_set()
    contents = {
        "corpus": [{"_id": name, "title": title, "text": text} for name, (title, text) in documents.items()],
        "queries": [{"_id": name, "text": text} for name, text in queries.items()],
    }
    for name, listed in contents.items():
        (folder / "found" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in listed))
    judgements = [f"{query}\t{name}\t{grade}" for query, each in judged.items() for name, grade in each.items()]
    lines = ["query-id\tcorpus-id\tscore", *judgements]
    (folder / "found" / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
    places = (f"{folder}/one.txt,{folder}/other.txt", f"{folder}/scored.tsv", f"{folder}/found")
    return dict(zip(SETS, places, strict=True))
