"""Test that every real data file is read whole, with the counts of its manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from reading import read_all

from bistil_ds.tasks.readers import read_pairs, read_questions, read_tagged, read_texts, read_trees, read_upos


def table(shared: Path, section: str) -> Iterator[list[str]]:
    """Yield the rows of one section's table in the manifest, without header and rule."""
    text = (shared / "data" / "MANIFEST.md").read_text(encoding="utf-8")
    lines = text.split(f"\n## {section}")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    assert len(rows) > 1
    yield from rows[1:]


def test_every_treebank_reads_whole(shared: Path) -> None:
    for treebank, split, sentences, tokens, *_ in table(shared, "ud/"):
        path = shared / "data" / "ud" / treebank.split("/")[1] / f"{split}.conllu"
        trees, tagged = read_all(read_trees, path), read_all(read_upos, path)
        assert (len(trees), sum(len(tree.words) for tree in trees)) == (int(sentences), int(tokens)), path
        assert [(tree.words, tree.upos) for tree in trees] == [(one.words, one.tags) for one in tagged]


def test_every_file_of_entities_reads_whole(shared: Path) -> None:
    for name, language, split, sentences, tokens, entities, *_ in table(shared, "ner/"):
        path = shared / "data" / "ner" / name / language / f"{split}.txt"
        tagged = read_all(read_tagged, path)
        assert (len(tagged), sum(len(one.words) for one in tagged)) == (int(sentences), int(tokens)), path
        found = Counter(tag[2:] for one in tagged for tag in one.tags if tag.startswith("B-"))
        assert " ".join(f"{kind} {found[kind]}" for kind in sorted(found)) == entities, path


def test_every_file_of_pairs_reads_whole(shared: Path) -> None:
    for file, _, pairs, labels, *_ in table(shared, "nli/"):
        found = Counter(pair.label[:3] for pair in read_all(read_pairs, shared / "data" / "nli" / file))
        assert sum(found.values()) == int(pairs), file
        assert " ".join(f"{label} {found[label]}" for label in sorted(found)) == labels, file


def test_every_file_of_questions_reads_whole(shared: Path) -> None:
    for file, _, paragraphs, questions, *_ in table(shared, "qa/"):
        found = read_all(read_questions, shared / "data" / "qa" / file)
        assert (found[-1].place.line, len(found)) == (int(paragraphs), int(questions)), file


def test_text_reads_whole(shared: Path) -> None:
    path = shared / "data" / "text" / "yo.txt"
    assert len(read_all(read_texts, path)) == len(path.read_bytes().splitlines())
