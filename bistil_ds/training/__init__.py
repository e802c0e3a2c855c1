"""What both phases train with: base trainer, losses of layers, loss weights, teacher, and meters of training."""
