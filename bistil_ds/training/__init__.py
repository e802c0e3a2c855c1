"""Training code that both phases share: base trainer, layer-wise losses, loss weights, teacher, and meters."""
