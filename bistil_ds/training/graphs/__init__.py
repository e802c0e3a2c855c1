"""`--cuda_graphs`: a training step on tensors that stay in their places, recorded once and replayed on a GPU."""
