"""All that knows DeepSpeed or torch.distributed."""
