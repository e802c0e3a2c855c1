"""KL divergence between the logits of two linear heads."""
