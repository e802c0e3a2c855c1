"""KL divergence between the logits of teacher and student."""
