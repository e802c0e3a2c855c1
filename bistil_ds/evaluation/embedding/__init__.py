"""Evaluation of sentence vectors: parallel sentences, similarity scores, retrieval, and likeness to other vectors."""
