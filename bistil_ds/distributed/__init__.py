"""Code that uses DeepSpeed and torch.distributed directly."""
