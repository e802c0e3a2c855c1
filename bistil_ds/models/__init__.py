"""All code that depends on a model family, or on how transformers builds, loads and saves models."""
