"""Read and write single entries of large tensors."""
