"""Prove the whole path on a GPU in a few minutes: rates, kernels against float64, training, then other benchmarks."""
