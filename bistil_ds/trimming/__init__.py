"""Trim a model folder to the tokens of some languages, without distilling it."""
