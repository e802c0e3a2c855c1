"""Simplified grammars of three languages, which turn random meanings into annotated sentences."""
