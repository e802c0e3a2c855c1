"""K trained values of a model's weights."""
