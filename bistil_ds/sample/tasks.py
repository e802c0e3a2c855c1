"""Make task files of the embedded sample: CoNLL-U for pos and dp, IOB2 for ner, plain text for mlm."""

from __future__ import annotations

from pathlib import Path

from bistil_ds.errors import InputError
from bistil_ds.sample.cached import cached, code_hash
from bistil_ds.sample.grammar.annotation import Sentence
from bistil_ds.sample.grammar.generation import LANGUAGES, sentences
from bistil_ds.sample.text import write_card

# number of sentences and seed of each split; no other part of the sample has these seeds
SPLITS = {"train": (2_000, 31), "dev": (300, 32), "test": (500, 33)}
ENDINGS = {"pos": "conllu", "dp": "conllu", "ner": "iob2", "mlm": "txt"}


def sample_task_file(task: str, language: str, split: str) -> Path:
    """Return the file of a task (pos, dp, ner, mlm), language (en, tr, sw) and split (train, dev, test).

    The file is made if the cache lacks it. Within a split, sentence n means the same in every language. The sample's
    corpora and its model's training text are drawn with other seeds, but may contain some of these sentences by chance.

    Raises:
        InputError: the sample has no such file.
    """
    for found, known in ((task, ENDINGS), (language, LANGUAGES), (split, SPLITS)):
        if found not in known:
            raise InputError(f"the embedded sample has no {found} (only {', '.join(known)}): give files of your own")
    folder = cached(f"tasks-{code_hash([Path(__file__)])[:8]}", _write)
    return folder / f"{language}-{split}.{ENDINGS[task]}"


def _write(folder: Path) -> None:
    for split, (count, seed) in SPLITS.items():
        parallel = list(sentences(count, seed))
        for language in LANGUAGES:
            for ending, form in (("conllu", _conllu), ("iob2", _iob2), ("txt", _line)):
                text = "".join(form(each[language]) for each in parallel)
                (folder / f"{language}-{split}.{ending}").write_text(text, encoding="utf-8", newline="\n")
    write_card(folder)


def _conllu(sentence: Sentence) -> str:
    lines = [f"# text = {sentence.text}"]
    columns = (sentence.tokens, sentence.upos, sentence.heads, sentence.relations, sentence.space_after)
    for i, (form, upos, head, relation, space) in enumerate(zip(*columns), start=1):
        lines.append(f"{i}\t{form}\t_\t{upos}\t_\t_\t{head}\t{relation}\t_\t{'_' if space else 'SpaceAfter=No'}")
    return "\n".join(lines) + "\n\n"


def _iob2(sentence: Sentence) -> str:
    return "".join(f"{token}\t{tag}\n" for token, tag in zip(sentence.tokens, sentence.entities)) + "\n"


def _line(sentence: Sentence) -> str:
    return sentence.text + "\n"
