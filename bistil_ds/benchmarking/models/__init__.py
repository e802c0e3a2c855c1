"""The models that are compared, and one of them under measurement."""
