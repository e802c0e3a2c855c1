"""Tokenizers of the kinds that teachers have."""
