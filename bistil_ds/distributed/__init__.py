"""All code that knows DeepSpeed or torch.distributed."""
