"""The embedded sample: annotated parallel sentences in English, Turkish and Swahili, and a small MMT of them."""

from bistil_ds.sample.grammar.annotation import Sentence
from bistil_ds.sample.grammar.generation import LANGUAGES, Parallel, sentences
from bistil_ds.sample.mmt import held_out_accuracy, held_out_sentences, sample_corpora, sample_mmt
from bistil_ds.sample.tasks import sample_task_file
from bistil_ds.sample.text import write_text

__all__ = [
    "LANGUAGES",
    "Parallel",
    "Sentence",
    "held_out_accuracy",
    "held_out_sentences",
    "sample_corpora",
    "sample_mmt",
    "sample_task_file",
    "sentences",
    "write_text",
]
