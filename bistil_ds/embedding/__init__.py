"""Sentence vectors: how a model pools its last hidden states into one vector for each text."""
