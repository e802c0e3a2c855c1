"""Sentence vectors: how a model pools its last hidden states into one vector for each text."""

from bistil_ds.embedding.encoder import SentenceEncoder
from bistil_ds.embedding.settings import SentenceSettings
from bistil_ds.embedding.vectors import encode

__all__ = ["SentenceEncoder", "SentenceSettings", "encode"]
