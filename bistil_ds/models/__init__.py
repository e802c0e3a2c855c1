"""Code that depends on a model family or on how transformers builds models."""
