"""Every kernel beside plain PyTorch, and the resources of its machine code."""
