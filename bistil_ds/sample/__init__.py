"""The embedded sample: annotated parallel sentences in English, Turkish and Swahili, and a small MMT that knows them."""

from bistil_ds.sample.annotation import Sentence
from bistil_ds.sample.generation import LANGUAGES, Parallel, sentences
from bistil_ds.sample.text import write_text

__all__ = ["LANGUAGES", "Parallel", "Sentence", "sample_corpora", "sample_mmt", "sentences", "write_text"]
