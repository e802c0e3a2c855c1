"""Write the sample as plain text files, one sentence a line, and the card that states its licence."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from huggingface_hub import DatasetCard, DatasetCardData

from bistil_ds.models.model_card import CARD_FILE
from bistil_ds.sample.grammar import generation
from bistil_ds.sample.grammar.generation import LANGUAGES

LICENCE = "apache-2.0"  # the licence of our code, because that code generates the text and trains the model


def write_text(folder: str | Path, sentences: int = 10_000, seed: int = 0) -> dict[str, Path]:
    """Write parallel en.txt, tr.txt and sw.txt (line n says the same in each) and return their paths."""
    paths = {language: Path(folder) / f"{language}.txt" for language in LANGUAGES}
    Path(folder).mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        files = {
            lang: stack.enter_context(open(path, "w", encoding="utf-8", newline="\n")) for lang, path in paths.items()
        }
        for parallel in generation.sentences(sentences, seed):
            for language, sentence in parallel.items():
                files[language].write(sentence.text + "\n")
    return paths


def write_card(folder: Path) -> None:
    """Write the card of the sample's text into the folder that holds it."""
    metadata = DatasetCardData(language=list(LANGUAGES), license=LICENCE)
    text = "# Sentences of three small grammars\n\nWritten by bistil_ds; no sentence is from elsewhere.\n"
    DatasetCard(f"---\n{metadata.to_yaml()}\n---\n\n{text}").save(folder / CARD_FILE)
