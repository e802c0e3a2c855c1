"""Pretraining of a small multilingual model from text: the sample's, and the from-scratch baseline."""
