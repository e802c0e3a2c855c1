"""KL divergence between the logits of two linear heads, without a buffer for all logits."""
