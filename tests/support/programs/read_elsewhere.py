"""Ask exported folders with whatever transformers and sentence-transformers are installed, and write the answers.

Nothing of ours is imported. Arguments: a JSON file with a list of questions, and the JSON file to write. A question has
`folder`, and either `texts` and the name of a `prompt` (for vectors), or `question` and `context` (for an answer).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def vectors(folder: str, texts: list[str], prompt: str | None) -> list[list[float]]:
    from sentence_transformers import SentenceTransformer

    found: list[list[float]] = SentenceTransformer(folder, device="cpu").encode(texts, prompt_name=prompt).tolist()
    return found


def answer(folder: str, question: str, context: str) -> str:
    from transformers import pipeline

    answers = pipeline("question-answering", model=folder)
    found = answers(question=question, context=context, max_answer_len=30, align_to_words=False)
    return str(found["answer"])


def main(asked: str, target: str) -> None:
    found: list[Any] = []
    for each in json.loads(Path(asked).read_text()):
        found.append(vectors(**each) if "texts" in each else answer(**each))
    Path(target).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
