"""KL divergence between logits."""
