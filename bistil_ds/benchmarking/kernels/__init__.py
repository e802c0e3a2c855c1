"""Benchmarks of the kernels: time and memory beside plain PyTorch, and what their machine code needs."""
