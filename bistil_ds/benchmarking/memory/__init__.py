"""Measure the memory and the size of models."""
